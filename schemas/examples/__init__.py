"""Programs that use the contract from outside."""
