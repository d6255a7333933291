"""Every schema evolves FULL_TRANSITIVE against what has been released."""

import json

import avro.schema
import pytest
from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
)

from schemas.catalog import TOPIC_RECORDS, released, shipped


def reads(reader: str, writer: str) -> bool:
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(avro.schema.parse(reader), avro.schema.parse(writer))
    return bool(result.compatibility is SchemaCompatibilityType.compatible)


@pytest.mark.parametrize("name", TOPIC_RECORDS)
def test_a_schema_and_every_release_of_it_read_each_other(name: str) -> None:
    current = shipped(name).text
    assert released(name), "release it: keep its text in schemas/released"
    for _, text in released(name):
        assert reads(current, text)
        assert reads(text, current)


@pytest.mark.parametrize("name", TOPIC_RECORDS)
def test_the_current_schema_is_released(name: str) -> None:
    texts = [json.loads(text) for _, text in released(name)]
    assert json.loads(shipped(name).text) == texts[-1]


def test_the_check_finds_a_field_without_a_default() -> None:
    old = shipped("CancelRequested").text
    fields = json.loads(old)
    fields["fields"].append({"name": "added", "type": "string"})
    assert not reads(json.dumps(fields), old)


def test_the_check_finds_a_new_branch_of_a_union() -> None:
    old = shipped("CancelRequested").text
    fields = json.loads(old)
    fields["fields"][-1]["type"].append("int")
    assert not reads(old, json.dumps(fields))
