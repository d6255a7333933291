"""The document is what the declarations say, and an AsyncAPI 3 document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from fastavro.schema import parse_schema

from schemas.access import grants, topic_access
from schemas.asyncapi import PATH, document, text
from schemas.catalog import TOPIC_RECORDS, fingerprint_of, shipped
from schemas.topics import Topics

DOCUMENT = document()
TENANT = "{tenant_id}"


def closed(required: str, **properties: Any) -> dict[str, Any]:
    """An object of the specification: nothing but its fields and extensions."""
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


def named(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {r"^[A-Za-z0-9_\-]+$": item},
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
REF = {**closed("$ref", **{"$ref": {"type": "string", "pattern": "^#/"}})}
KAFKA_CHANNEL = closed(
    "bindingVersion",
    topic=TEXT,
    partitions={"type": "integer", "minimum": 1},
    replicas={"type": "integer", "minimum": 1},
    bindingVersion={"const": "0.5.0"},
    topicConfiguration=closed(
        "",
        **{
            "cleanup.policy": {"type": "array", "items": {"enum": ["compact", "delete"]}},
            "retention.ms": {"type": "integer", "minimum": -1},
            "max.message.bytes": {"type": "integer", "minimum": 0},
        },
    ),
)
KAFKA_MESSAGE = closed(
    "bindingVersion",
    key={"type": "object"},
    schemaIdLocation={"enum": ["payload", "header"]},
    schemaIdPayloadEncoding=TEXT,
    schemaLookupStrategy=TEXT,
    bindingVersion={"const": "0.5.0"},
)
HEADERS = {
    "type": "object",
    "required": ["type", "properties"],
    "properties": {
        "type": {"const": "object"},
        "properties": {
            "type": "object",
            "additionalProperties": closed("type", type={"const": "string"}, description=TEXT),
        },
        "required": {"type": "array", "items": TEXT, "uniqueItems": True},
    },
    "additionalProperties": False,
}
MESSAGE = closed(
    "payload contentType",
    name=TEXT,
    title=TEXT,
    summary=TEXT,
    description=TEXT,
    contentType=TEXT,
    headers=HEADERS,
    payload=closed("schemaFormat schema", schemaFormat=TEXT, schema={"type": "object"}),
    bindings=closed("kafka", kafka=KAFKA_MESSAGE),
)
#: The parts of the AsyncAPI 3.0.0 schema (asyncapi.com/definitions/3.0.0) that the document uses.
SPECIFICATION = closed(
    "asyncapi info",
    asyncapi={"const": "3.0.0"},
    info=closed("title version", title=TEXT, version=TEXT, description=TEXT),
    defaultContentType=TEXT,
    servers=named(
        closed(
            "host protocol",
            host=TEXT,
            protocol=TEXT,
            description=TEXT,
            security={"type": "array", "items": REF, "uniqueItems": True},
        )
    ),
    channels=named(
        closed(
            "address messages",
            address=TEXT,
            title=TEXT,
            description=TEXT,
            messages=named(REF),
            parameters=named(closed("", description=TEXT)),
            tags={"type": "array", "items": closed("name", name=TEXT)},
            bindings=closed("kafka", kafka=KAFKA_CHANNEL),
        )
    ),
    operations=named(
        closed(
            "action channel",
            action={"enum": ["send", "receive"]},
            channel=REF,
            messages={"type": "array", "items": REF, "uniqueItems": True},
        )
    ),
    components=closed(
        "",
        messages=named(MESSAGE),
        securitySchemes=named(
            closed(
                "type",
                type={"enum": ["plain", "scramSha256", "scramSha512", "X509", "userPassword"]},
                description=TEXT,
            )
        ),
    ),
)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def at(reference: str) -> Any:
    node: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_the_committed_document_is_what_the_declarations_say() -> None:
    assert PATH.read_text() == text(), "run python -m schemas.asyncapi"


def test_it_has_the_structure_of_asyncapi_3() -> None:
    jsonschema_rs.validator_for(SPECIFICATION).validate(DOCUMENT)


@pytest.mark.parametrize("change", ["no_host", "odd_field", "bad_action", "bad_reference"])
def test_what_is_no_such_document_is_noticed(change: str) -> None:
    wrong = json.loads(text())
    if change == "no_host":
        del wrong["servers"]["kafka"]["host"]
    elif change == "odd_field":
        wrong["channels"]["jobs_events"]["publish"] = {}
    elif change == "bad_action":
        wrong["operations"]["send_jobs_events"]["action"] = "publish"
    else:
        wrong["operations"]["send_jobs_events"]["channel"] = {"$ref": "jobs_events"}
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validator_for(SPECIFICATION).validate(wrong)


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert found
    for reference in found:
        assert at(reference), reference


def test_an_operation_uses_messages_of_its_own_channel() -> None:
    for operation in DOCUMENT["operations"].values():
        channel = operation["channel"]["$ref"]
        assert all(one["$ref"].startswith(f"{channel}/messages/") for one in operation["messages"])


def test_every_variable_of_an_address_is_a_parameter() -> None:
    for channel in DOCUMENT["channels"].values():
        used = set(re.findall(r"\{(\w+)\}", channel["address"]))
        assert used == set(channel.get("parameters", {}))


def test_every_topic_is_there_with_its_record_and_those_who_may_use_it() -> None:
    topics = Topics()
    declared = list(topics.declared(("mochi-1",), 64, (TENANT,)))
    channels = {one["address"]: one for one in DOCUMENT["channels"].values()}
    assert channels.keys() == {topic.name for topic in declared}
    access = topic_access(topics, "mochi-1", (TENANT,))
    for topic in declared:
        channel = channels[topic.name]
        assert list(channel["messages"]) == [topic.record]
        assert channel["x-access"]["write"] == list(access[topic.name].writes)
    named_by_grants = {grant.principal for grant in grants(topics, "mochi-1", (TENANT,))}
    assert DOCUMENT["x-principals"].keys() == named_by_grants


@pytest.mark.parametrize("name", TOPIC_RECORDS)
def test_every_payload_is_the_shipped_schema(name: str) -> None:
    payload = DOCUMENT["components"]["messages"][name]["payload"]
    assert fingerprint_of(parse_schema(payload["schema"])) == shipped(name).fingerprint


def test_outsiders_send_requests_and_receive_what_happened() -> None:
    actions = {name: one["action"] for name, one in DOCUMENT["operations"].items()}
    assert actions["receive_jobs_requested_normal_tenant"] == "receive"
    assert actions["receive_jobs_control_tenant"] == "receive"
    assert actions["send_jobs_completed"] == "send"
    internal = {n for n, one in DOCUMENT["channels"].items() if "tags" in one}
    assert "pool_mochi-1_inbox" in internal
    assert not [name for name in actions if name.partition("_")[2] in internal]
