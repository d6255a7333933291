"""Load: how much goes through the whole stack."""
