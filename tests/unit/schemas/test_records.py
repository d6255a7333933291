"""The Python types and the Avro schemas say the same."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from schemas import records
from schemas.catalog import AVRO

SCHEMAS = {path.stem.removeprefix("ttv."): json.loads(path.read_text()) for path in AVRO.glob("*")}
PRIMITIVE = {
    "string": "str",
    "int": "int",
    "long": "int",
    "double": "float",
    "boolean": "bool",
    "bytes": "bytes",
}


def python_type(avro: Any) -> str:
    if isinstance(avro, list):
        assert avro[0] == "null"
        return f"{python_type(avro[1])} | None"
    if isinstance(avro, dict):
        if avro["type"] == "map":
            return f"dict[str, {python_type(avro['values'])}]"
        if avro["type"] == "array":
            return f"tuple[{python_type(avro['items'])}, ...]"
        assert avro["logicalType"] == "timestamp-millis"
        return "datetime"
    return PRIMITIVE.get(avro) or str(avro).removeprefix("ttv.")


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_record_type_has_the_fields_of_its_schema(name: str) -> None:
    model = getattr(records, name)
    declared = {field["name"]: python_type(field["type"]) for field in SCHEMAS[name]["fields"]}
    assert {field: str(kind) for field, kind in model.__annotations__.items()} == declared
    assert model.__doc__ == SCHEMAS[name]["doc"]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_field_is_documented_and_every_nullable_one_defaults_to_null(name: str) -> None:
    for field in SCHEMAS[name]["fields"]:
        assert field["doc"].strip()
        if isinstance(field["type"], list):
            assert field["default"] is None


def test_every_type_has_a_schema() -> None:
    types = {
        name
        for name, value in vars(records).items()
        if isinstance(value, type) and issubclass(value, records.Record)
    }
    assert types - {"Record"} == set(SCHEMAS)


def test_records_do_not_show_values_in_validation_errors() -> None:
    with pytest.raises(ValidationError) as caught:
        records.CancelRequested(job_id=7, tenant_id="t")  # type: ignore[arg-type]
    assert "7" not in str(caught.value).replace("pydantic", "")


def test_times_keep_their_milliseconds() -> None:
    at = datetime(2026, 11, 24, 12, 0, 0, 123_000, tzinfo=UTC)
    cursor = records.Cursor(offset=1, pool_incarnation="x", now=at)
    assert cursor.now == at
