from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ingest.api.compatibility import broken
from ingest.api.openapi import RELEASED, read

Change = Callable[[dict[str, Any]], object]

_RELEASED = read(RELEASED)


def changed(change: Change) -> list[str]:
    """What clients lose by ``change``."""
    new = copy.deepcopy(_RELEASED)
    change(new)
    return broken(_RELEASED, new)


def _submit(d: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = d["components"]["schemas"]["SubmitBody"]
    return found


def _job(d: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = d["components"]["schemas"]["JobBody"]
    return found


def _list(d: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = d["paths"]["/v1/jobs"]["get"]
    return found


def _limit(d: dict[str, Any]) -> dict[str, Any]:
    [found] = [p for p in _list(d)["parameters"] if p["name"] == "limit"]
    assert isinstance(found, dict)
    return found


BREAKS: dict[str, Change] = {
    "a path goes": lambda d: d["paths"].pop("/v1/jobs/{job_id}"),
    "an operation goes": lambda d: d["paths"]["/v1/jobs"].pop("post"),
    "a parameter goes": lambda d: _list(d)["parameters"].pop(),
    "a parameter is needed": lambda d: _limit(d).update(required=True),
    "a new one is needed": lambda d: _list(d)["parameters"].append(
        {"name": "new", "in": "query", "required": True, "schema": {"type": "string"}}
    ),
    "less is taken": lambda d: _limit(d)["schema"].update(maximum=50),
    "a field is needed": lambda d: _submit(d)["required"].append("seed"),
    "a field is not taken any more": lambda d: _submit(d)["properties"].pop("seed"),
    "a field is checked harder": lambda d: _submit(d)["properties"]["prompt"].update(maxLength=9),
    "a value is not taken any more": lambda d: _submit(d)["properties"]["priority"]["anyOf"][
        0
    ].update(enum=["high", "normal"]),
    "null is not taken any more": lambda d: _submit(d)["properties"]["seed"]["anyOf"].pop(),
    "an answer's field goes": lambda d: _job(d)["properties"].pop("links"),
    "an answer's field may be missing": lambda d: _job(d)["required"].remove("id"),
    "an answer's field may be null": lambda d: _job(d)["properties"].update(
        pool={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
    "an answer's field has another type": lambda d: _job(d)["properties"].update(
        attempt={"type": "string"}
    ),
    "an answer knows another value": lambda d: _job(d)["properties"]["status"]["enum"].append("x"),
    "an answer goes": lambda d: d["paths"]["/v1/jobs"]["post"]["responses"].pop("202"),
    "a media type goes": lambda d: _list(d)["responses"]["200"]["content"].clear(),
    "a header goes": lambda d: d["paths"]["/v1/jobs"]["post"]["responses"]["202"].pop("headers"),
}

HARMLESS: dict[str, Change] = {
    "nothing": lambda _: None,
    "a path comes": lambda d: d["paths"].update({"/v2": d["paths"]["/v1/jobs"]}),
    "an optional parameter comes": lambda d: _list(d)["parameters"].append(
        {"name": "new", "in": "query", "schema": {"type": "string"}}
    ),
    "more is taken": lambda d: _limit(d)["schema"].update(maximum=500),
    "an optional field comes": lambda d: _submit(d)["properties"].update(x={"type": "string"}),
    "an answer has one more field": lambda d: _job(d)["properties"].update(x={"type": "string"}),
    "words change": lambda d: _job(d)["properties"]["id"].update(description="Other words."),
    "one more error": lambda d: _list(d)["responses"].update({"418": {"description": "Tea."}}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_a_client_relies_on_is_missed(name: str) -> None:
    assert changed(BREAKS[name])


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_client_does_not_rely_on_is_not(name: str) -> None:
    assert changed(HARMLESS[name]) == []
