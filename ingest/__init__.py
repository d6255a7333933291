"""The HTTP edge: API, read model, webhooks out, command-line client."""
