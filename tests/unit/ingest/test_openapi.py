from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from infra.settings import Settings
from ingest.api import problems
from ingest.api.app import create_app
from ingest.api.compatibility import broken
from ingest.api.deprecation import Deprecation
from ingest.api.openapi import COMMITTED, PUBLIC, RELEASED, current, operations, read
from ingest.openai import errors
from schemas.reasons import REASONS

_DOCUMENT = current()


def schemas_in(value: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below ``value``, with its place."""
    if isinstance(value, list):
        for n, item in enumerate(value):
            yield from schemas_in(item, f"{where}[{n}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in {"schema", "items", "additionalProperties"} and isinstance(item, dict):
                yield f"{where}.{name}", item
            if name in {"properties", "schemas"}:
                yield from ((f"{where}.{name}.{of}", schema) for of, schema in item.items())
            yield from schemas_in(item, f"{where}.{name}")


def test_the_committed_document_is_that_of_the_code() -> None:
    assert read(COMMITTED) == _DOCUMENT, "run python -m ingest.api.openapi"


def test_a_client_of_the_released_document_still_works() -> None:
    assert broken(read(RELEASED), _DOCUMENT) == []


def test_no_route_is_hidden() -> None:
    app = create_app(Settings.model_construct())
    routes = {
        (method.lower(), route.path)
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ["any"]
    }
    assert routes == {(method, path) for path, method, _ in operations(_DOCUMENT)}


def test_nothing_is_untyped() -> None:
    for where, schema in schemas_in(_DOCUMENT, ""):
        assert {"type", "$ref", "anyOf", "enum", "const"} & set(schema), f"{where}: {schema}"
        if schema.get("type") == "object":
            told = "properties" in schema or isinstance(schema.get("additionalProperties"), dict)
            assert told, f"{where}: an object of what?"


def test_every_field_and_every_operation_is_described() -> None:
    for name, schema in _DOCUMENT["components"]["schemas"].items():
        for field, of in schema.get("properties", {}).items():
            assert {"description", "$ref"} & set(of), f"{name}.{field}"
    for path, method, operation in operations(_DOCUMENT):
        assert operation.get("description"), f"{method} {path}"
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{method} {path}: {parameter['name']}"


def test_all_but_public_routes_ask_who_calls_and_every_error_is_a_problem() -> None:
    assert set(_DOCUMENT["components"]["securitySchemes"]) == {"Bearer", "ApiKey"}
    for path, method, operation in operations(_DOCUMENT):
        where = f"{method} {path}"
        assert (operation.get("security") == []) == (path in PUBLIC), where
        if path not in PUBLIC:
            assert {"401", "403"} <= set(operation["responses"]), where
        for status, answer in operation["responses"].items():
            if status >= "400":
                openai = errors.owns(path)
                media = "application/json" if openai else problems.MEDIA_TYPE
                assert list(answer["content"]) == [media], f"{where} {status}"
                codes = [part for part in answer["description"].split("`") if part in REASONS]
                assert codes, f"{where} {status}"
                of = {errors.status_of(c) if openai else REASONS[c].status for c in codes}
                assert of == {int(status)}, where


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations(_DOCUMENT)]
    assert len(set(names)) == len(names)


def test_a_deprecated_route_says_so_in_its_answers_and_in_the_document() -> None:
    end = Deprecation(
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), "https://example.org/v2"
    )
    app = create_app(Settings.model_construct(), {"GET /healthz": end})
    assert app.openapi()["paths"]["/healthz"]["get"]["deprecated"] is True
    assert "deprecated" not in app.openapi()["paths"]["/readyz"]["get"]
    client = TestClient(app)
    answer = client.get("/healthz")
    assert answer.headers["deprecation"] == "@1767225600"
    assert answer.headers["sunset"] == "Fri, 01 Jan 2027 00:00:00 GMT"
    assert answer.headers["link"] == (
        '<https://example.org/v2>; rel="deprecation"; type="text/html"'
    )
    assert "deprecation" not in client.get("/v1/openapi.json").headers
    assert "deprecation" not in client.get("/nowhere").headers


def test_a_wrong_method_names_all_that_the_path_takes() -> None:
    client = TestClient(create_app(Settings.model_construct()))
    answer = client.put("/v1/jobs/0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc"])
def test_the_frameworks_own_pages_are_not_there(path: str) -> None:
    assert TestClient(create_app(Settings.model_construct())).get(path).status_code == 404


def test_the_served_document_is_the_applications() -> None:
    served = TestClient(create_app(Settings.model_construct())).get("/v1/openapi.json").json()
    assert TypeAdapter(dict[str, Any]).validate_python(served) == _DOCUMENT
