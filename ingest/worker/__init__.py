"""The edge's background work: projection, progress, relay, webhooks."""
