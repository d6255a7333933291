from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import engine
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from ingest import cursor
from ingest.api.openapi import COMMITTED, operations, read
from ingest.listing import ListQuery, filters
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.test_submit import add_key

pytestmark = pytest.mark.stack

_TENANT = "contract"
_CONFIG = """
seed = 20260301

[generation]
deterministic = true
max-examples = 8

[phases.stateful]
max-steps = 4
"""
#: A time that a job may start by lies ahead: what JSON Schema has no word for.
_AHEAD = st.datetimes(
    datetime(2030, 1, 1),  # noqa: DTZ001 bounds of hypothesis are naive
    datetime(2090, 1, 1),  # noqa: DTZ001 same
    timezones=st.just(UTC),
).map(lambda at: at.isoformat().replace("+00:00", "Z"))


def _as_a_client_would(_: Any, case: Any) -> Any:
    """What a schema cannot say: a cursor is the one that these filters gave, a key is fresh."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    headers = case.headers or {}
    for name in [name for name in headers if name.lower() == "idempotency-key"]:
        headers[name] = str(uuid.uuid4())
    if isinstance(case.body, dict) and isinstance(case.body.get("expires_at"), str):
        # Times that answers hold are tried here too, and lie behind.
        case.body["expires_at"] = "2031-01-01T00:00:00Z"
    if case.operation.path == "/v1/jobs" and "cursor" in (case.query or {}):
        case.query["cursor"] = _cursor({**case.query, **case.query.get("metadata", {})})
    return case


def _cursor(query: dict[str, Any]) -> str:
    """The cursor of some page of the list that ``query`` asks for."""
    query.pop("cursor")
    query.pop("metadata", None)
    asked = ListQuery.model_validate(query)
    of = filters(asked, [(name, str(value)) for name, value in query.items()]).of(_TENANT)
    return cursor.encode(cursor.Position(datetime(2026, 1, 1, tzinfo=UTC), uuid.uuid4()), of)


def found_by_schemathesis(url: str, key: str) -> tuple[Counter[str], list[str]]:
    """Calls by operation, and what any check in any phase found."""
    load_all_checks()
    schemathesis.openapi.format("date-time", _AHEAD)
    config = SchemathesisConfig.from_str(_CONFIG)
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json", config=config)
    schema.config.update(headers={"Authorization": f"Bearer {key}"})
    schema.hook("map_case")(_as_a_client_would)
    calls: Counter[str] = Counter()
    failures: list[str] = []
    for event in engine.from_schema(schema).execute():
        if isinstance(event, NonFatalError):
            failures.append(f"{event.label}: {event.info}")
        if not isinstance(event, ScenarioFinished):
            continue
        for node in event.recorder.cases.values():
            calls[node.value.operation.label] += 1
        for check in (check for checks in event.recorder.checks.values() for check in checks):
            if check.failure_info is not None:
                wrong, sent = check.failure_info.failure, check.failure_info.code_sample
                failures.append(f"{event.phase.value} {check.name}: {wrong.message}\n{sent}")
    return calls, failures


def test_schemathesis_finds_nothing_on_any_route(edge: EdgeStack) -> None:
    key = add_key(edge, _TENANT, "admin")
    calls, failures = found_by_schemathesis(f"http://127.0.0.1:{edge.port}", key)
    assert not failures, "\n\n".join(failures)
    documented = {f"{method.upper()} {path}" for path, method, _ in operations(read(COMMITTED))}
    # What it reads the document from, it leaves out.
    assert set(calls) >= documented - {"GET /v1/openapi.json"}
