"""What the parts stand on: settings, telemetry, transactional Kafka, the local stack."""
