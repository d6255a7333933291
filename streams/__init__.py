"""What happens between a request and a GPU: admission, dead letters, the scheduler."""
