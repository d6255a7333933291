"""Make what the processes expect to find: topics, ACLs, registered schemas, the bucket.

Run by the local stack before the parts start, and as a job elsewhere. Everything is idempotent:
``python -m infra.provision``.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # exported without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)
from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Schema,
    SchemaRegistryClient,
    ServerConfig,
)
from minio import Minio
from urllib3 import PoolManager, Timeout

from infra.acls import allow
from infra.kafka import common
from infra.producers import tenants_of
from infra.settings import Settings, settings
from infra.telemetry import log, start
from schemas.access import grants
from schemas.catalog import released, shipped
from schemas.topics import Topic, Topics

_DEADLINE = 30.0


def make_topics(config: Settings, declared: list[Topic]) -> None:
    """Create missing topics and set the declared configuration on those that exist.

    Raises:
        KafkaException: a topic can be neither created nor configured.
    """
    admin = AdminClient(common(config))
    new = [NewTopic(t.name, t.partitions, config.replication, config=t.config) for t in declared]
    for future in admin.create_topics(new, request_timeout=_DEADLINE).values():
        try:
            future.result(_DEADLINE)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    resources = [
        ConfigResource(
            ConfigResource.Type.TOPIC,
            topic.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in topic.config.items()
            ],
        )
        for topic in declared
    ]
    for done in admin.incremental_alter_configs(resources, request_timeout=_DEADLINE).values():
        done.result(_DEADLINE)
    _await_leaders(admin, declared)


def _await_leaders(admin: AdminClient, declared: list[Topic]) -> None:
    deadline = time.monotonic() + _DEADLINE
    while True:
        known = admin.list_topics(timeout=_DEADLINE).topics
        if all(
            topic.name in known
            and len(known[topic.name].partitions) >= topic.partitions
            and all(p.leader >= 0 for p in known[topic.name].partitions.values())
            for topic in declared
        ):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("topics without leaders: is Kafka healthy?")
        time.sleep(0.1)


def register_schemas(config: Settings, declared: list[Topic]) -> None:
    """Register released and current schemas of every topic, FULL_TRANSITIVE."""
    with SchemaRegistryClient({"url": config.registry, "timeout": _DEADLINE}) as registry:
        for topic in declared:
            subject = f"{topic.name}-value"
            versions = [text for _, text in released(topic.record)]
            for text in dict.fromkeys([*versions, shipped(topic.record).text]):
                registry.register_schema(subject, Schema(text, "AVRO"))
            level = ConfigCompatibilityLevel.FULL_TRANSITIVE
            registry.set_config(subject, ServerConfig(compatibility=level))


def object_store(config: Settings, timeout: float | None = None) -> Minio:
    """A client of the object store, for buckets and links; never for claims.

    Args:
        config: Where it is.
        timeout: Seconds that one call may be silent, once; None: the library's minutes.
    """
    wait = None if timeout is None else PoolManager(timeout=Timeout(timeout), retries=False)
    url = urlsplit(config.s3_endpoint)
    return Minio(
        url.netloc,
        access_key=config.s3_access_key,
        secret_key=config.s3_secret_key.get_secret_value(),
        secure=url.scheme == "https",
        region=config.s3_region,
        http_client=wait,
    )


def make_bucket(config: Settings) -> None:
    """Create the bucket if it is missing."""
    client = object_store(config)
    if not client.bucket_exists(config.s3_bucket):
        client.make_bucket(config.s3_bucket)


def provision(config: Settings) -> None:
    """Make everything; safe to repeat and to run twice at once."""
    topics = Topics(config.topic_prefix)
    declared = list(topics.declared((config.pool,), config.slots, tenants_of(config)))
    make_topics(config, declared)
    if config.kafka_security_protocol.startswith("SASL"):
        allow(config, grants(topics, config.pool, tenants_of(config)))
    register_schemas(config, declared)
    make_bucket(config)
    log().info("provision.done", topics=len(declared))


if __name__ == "__main__":
    start("provision", settings())
    provision(settings())
