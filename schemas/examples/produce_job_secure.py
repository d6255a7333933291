"""Produce a job straight to a Kafka that asks who you are, into your tenant's own topic.

python schemas/examples/produce_job_secure.py KAFKA REGISTRY TENANT PROMPT [FIELD=VALUE ...]

Read from the environment: KAFKA_CA (a PEM file), KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_MECHANISM
(PLAIN unless given). Where records are signed instead (TTV_KAFKA_TENANT=header), PRODUCER_KEY is
the tenant's key in hex, and the record goes to the shared topic.
"""

import hashlib
import hmac
import json
import os
import sys
import time
import uuid
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

SHARED = "ttv.jobs.requested.normal"
SCHEMA = Path(__file__).parents[1] / "avro" / "ttv.JobRequested.avsc"
LIFE_S = 3600


def signature(key: str, tenant: str, topic: str, value: bytes) -> bytes:
    """The header ``ttv-producer``: it proves whose this one record is, for an hour."""
    expires = int(time.time()) + LIFE_S
    said = f"ttv-producer-v1\0{tenant}\0{expires}\0{topic}\0".encode()
    mac = hmac.new(bytes.fromhex(key), said + hashlib.sha256(value).digest(), "sha256")
    return f"{tenant}.{expires}.{mac.hexdigest()}".encode()


def main(kafka: str, registry: str, tenant: str, prompt: str, *fields: str) -> None:
    """Send one job and print its id."""
    job = {"job_id": str(uuid.uuid4()), "tenant_id": tenant, "prompt": prompt, "metadata": {}}
    for name, _, value in (field.partition("=") for field in fields):
        job[name] = json.loads(value) if value[:1] in '{"-0123456789' else value
    key = os.environ.get("PRODUCER_KEY")
    topic = SHARED if key else f"{SHARED}.{tenant}"
    conf = {"auto.register.schemas": False, "use.latest.version": True}
    serialize = AvroSerializer(
        SchemaRegistryClient({"url": registry}), SCHEMA.read_text(), conf=conf
    )
    value = serialize(job, SerializationContext(topic, MessageField.VALUE))
    config = {"bootstrap.servers": kafka, "partitioner": "murmur2_random"}
    if "KAFKA_USERNAME" in os.environ:
        config |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": os.environ.get("KAFKA_MECHANISM", "PLAIN"),
            "sasl.username": os.environ["KAFKA_USERNAME"],
            "sasl.password": os.environ["KAFKA_PASSWORD"],
            "ssl.ca.location": os.environ["KAFKA_CA"],
        }
    failed = []
    producer = Producer(config)
    headers: list[tuple[str, str | bytes | None]] = []
    if key:
        headers.append(("ttv-producer", signature(key, tenant, topic, value)))
    producer.produce(
        topic,
        value,
        tenant.encode(),
        headers=headers,
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    if producer.flush(10) or failed:
        sys.exit(f"not delivered: {failed[0].str() if failed else 'is Kafka reachable?'}")
    sys.stdout.write(f"{job['job_id']}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
