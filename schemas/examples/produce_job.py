"""Produce a job straight to Kafka with nothing but a Confluent client and the schema file.

python schemas/examples/produce_job.py KAFKA REGISTRY TENANT PROMPT [FIELD=VALUE ...]
"""

import json
import sys
import uuid
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = "ttv.jobs.requested.normal"
SCHEMA = Path(__file__).parents[1] / "avro" / "ttv.JobRequested.avsc"


def main(kafka: str, registry: str, tenant: str, prompt: str, *fields: str) -> None:
    """Send one job and print its id."""
    job = {"job_id": str(uuid.uuid4()), "tenant_id": tenant, "prompt": prompt, "metadata": {}}
    for name, _, value in (field.partition("=") for field in fields):
        job[name] = json.loads(value) if value[:1] in '{"-0123456789' else value
    conf = {"auto.register.schemas": False, "use.latest.version": True}
    serialize = AvroSerializer(
        SchemaRegistryClient({"url": registry}), SCHEMA.read_text(), conf=conf
    )
    value = serialize(job, SerializationContext(TOPIC, MessageField.VALUE))
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
    producer.produce(TOPIC, value, tenant.encode())
    if producer.flush(10):
        sys.exit("not delivered: is Kafka reachable?")
    sys.stdout.write(f"{job['job_id']}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
