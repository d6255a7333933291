"""Attacks on the running service, by the OWASP API Security Top 10 (2023), over sockets."""
