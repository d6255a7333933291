"""What keeps a dependency's trouble small: circuit breakers and bulkheads."""
