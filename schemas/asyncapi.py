"""The AsyncAPI 3 document of every topic, made from the declarations alone.

``python -m schemas.asyncapi`` writes ``schemas/asyncapi.json``; a test fails when the two differ.
It speaks as the service: it receives requests and sends what happened to them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from schemas import cloudevents, producers
from schemas.access import CONSUMER, PARTS, Access, topic_access
from schemas.catalog import TOPIC_RECORDS, shipped
from schemas.job import DEFAULT_POOL
from schemas.topics import Topic, Topics

PATH: Final = Path(__file__).parent / "asyncapi.json"
_VERSION: Final = "3.0.0"
_BINDING: Final = "0.5.0"
_AVRO: Final = "application/vnd.apache.avro;version=1.9.0"
_SLOTS: Final = 64
#: Stands for a tenant in the addresses of its own topics.
_TENANT: Final = "{tenant_id}"
_ABOUT: Final = (
    "Text-to-video jobs over Kafka: send a JobRequested, follow jobs.events or jobs.completed. "
    "Values are Avro in the Confluent wire format; a JobRequested or CancelRequested may use "
    "single-object encoding instead. Read committed records only, and skip kinds that you do not "
    "know. Topics that are neither sent to nor read by programs outside are tagged internal. The "
    "prefix ttv. is a setting of the deployment."
)
_SECURITY: Final[dict[str, dict[str, str]]] = {
    "scram": {
        "type": "scramSha512",
        "description": "SASL/SCRAM-SHA-512 over TLS; ACLs as x-access says.",
    },
    "plain": {
        "type": "plain",
        "description": "SASL/PLAIN over TLS: what `ttv up --secure` starts with.",
    },
}
_TRACEPARENT: Final = {"traceparent": "W3C trace context: the job goes on with it."}
_SIGNATURE: Final = {
    producers.HEADER: "TENANT.EXPIRES.MAC: proves whose the record is, where the deployment says "
    "TTV_KAFKA_TENANT=header. See schemas/producers.py."
}
#: Headers by record, beside traceparent; of those in the second part, all are always there.
_HEADERS: Final[dict[str, tuple[dict[str, str], frozenset[str]]]] = {
    "JobEvent": (cloudevents.HEADERS, frozenset(cloudevents.HEADERS)),
    "JobRequested": (_SIGNATURE | cloudevents.HEADERS, frozenset()),
    "CancelRequested": (_SIGNATURE, frozenset()),
}


def document() -> dict[str, Any]:
    """The whole document."""
    topics = Topics()
    access = topic_access(topics, DEFAULT_POOL, (_TENANT,))
    declared = sorted(
        topics.declared((DEFAULT_POOL,), _SLOTS, (_TENANT,)), key=lambda topic: topic.name
    )
    channels, operations = dict[str, Any](), dict[str, Any]()
    for topic in declared:
        name = _identifier(topic.name.removeprefix(topics.prefix))
        channels[name] = _channel(topic, access[topic.name])
        operations |= _operations(name, topic, access[topic.name])
    return {
        "asyncapi": _VERSION,
        "info": {"title": "Text to video, over Kafka", "version": "1.0.0", "description": _ABOUT},
        "defaultContentType": cloudevents.CONTENT_TYPE,
        "servers": {
            "kafka": {
                "host": "127.0.0.1:9092",
                "protocol": "kafka-secure",
                "description": "TTV_KAFKA of the deployment.",
                "security": [{"$ref": f"#/components/securitySchemes/{n}"} for n in _SECURITY],
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {name: _message(name) for name in sorted(TOPIC_RECORDS)},
            "securitySchemes": _SECURITY,
        },
        "x-principals": PARTS | {f"producer-{_TENANT}": "the producers of one tenant"},
    }


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _identifier(name: str) -> str:
    return name.replace(_TENANT, "tenant").replace(".", "_")


def _outside(access: Access) -> bool:
    """Whether programs outside the service have business with the topic."""
    own = access.writes + access.reads
    return CONSUMER in own or any(name.startswith("producer-") for name in own)


def _is_request(topic: Topic) -> bool:
    return topic.record in {"JobRequested", "CancelRequested"}


def _channel(topic: Topic, access: Access) -> dict[str, Any]:
    made: dict[str, Any] = {
        "address": topic.name,
        "title": topic.name,
        "description": f"Keyed by {topic.key}.",
        "messages": {topic.record: {"$ref": f"#/components/messages/{topic.record}"}},
        "bindings": {"kafka": _kafka(topic)},
        "x-access": {
            "write": list(access.writes),
            "read": list(access.reads),
            "trim": list(access.trims),
        },
    }
    if _TENANT in topic.name:
        made["parameters"] = {"tenant_id": {"description": "The tenant whose topic it is."}}
    if not _outside(access) and not _is_request(topic):
        made["tags"] = [{"name": "internal"}]
    return made


def _kafka(topic: Topic) -> dict[str, Any]:
    known = topic.config
    return {
        "partitions": topic.partitions,
        "topicConfiguration": {
            "cleanup.policy": known["cleanup.policy"].split(","),
            "retention.ms": int(known["retention.ms"]),
            "max.message.bytes": int(known["max.message.bytes"]),
        },
        "bindingVersion": _BINDING,
    }


def _operations(name: str, topic: Topic, access: Access) -> dict[str, Any]:
    """What the service does with the topic, as far as others take part in it."""
    if _is_request(topic):
        action = "receive"
    elif _outside(access):
        action = "send"
    else:
        return {}
    made = {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{topic.record}"}],
    }
    return {f"{action}_{name}": made}


def _message(name: str) -> dict[str, Any]:
    schema = json.loads(shipped(name).text)
    described, required = _HEADERS.get(name, ({}, frozenset()))
    described = _TRACEPARENT | described
    return {
        "name": name,
        "title": name,
        "summary": schema.get("doc", name),
        "contentType": cloudevents.CONTENT_TYPE,
        "headers": {
            "type": "object",
            "properties": {
                header: {"type": "string", "description": meaning}
                for header, meaning in described.items()
            },
            "required": sorted(required),
        },
        "payload": {"schemaFormat": _AVRO, "schema": schema},
        "bindings": {
            "kafka": {
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "schemaLookupStrategy": "TopicIdStrategy",
                "bindingVersion": _BINDING,
            }
        },
    }


if __name__ == "__main__":
    PATH.write_text(text())
