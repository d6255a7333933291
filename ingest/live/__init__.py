"""What happens to jobs, as it happens: event streams and requests that wait."""
