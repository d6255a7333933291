"""The OpenAI-compatible video API over the same jobs: names, shapes and rules. Pure."""
