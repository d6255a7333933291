"""Schemathesis, with all its checks, over every route of an API of its own.

It makes and revokes keys, suspends tenants and changes rights: no other test may share the tables.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import engine
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from ingest import cursor, letter_cursor
from ingest.api.openapi import COMMITTED, operations, read
from ingest.listing import ListQuery, filters
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.test_submit import add_key

pytestmark = pytest.mark.stack

_TENANT: Final = "contract"
_CONFIG: Final = """
seed = 20260301
workers = 2

[generation]
deterministic = true
max-examples = 4

[phases.stateful]
max-steps = 4
"""
_SETTINGS: Final = {
    # An answer that does not end would be waited for: the one stream that there may be is taken.
    "TTV_STREAMS_PER_TENANT": "1",
    "TTV_OIDC_ISSUERS": "https://issuer.invalid",
    # It knows no pause.
    "TTV_LIMIT_KEY": "read=0",
    "TTV_LIMIT_TENANT": "read=0",
    "TTV_LIMIT_FAILURES": "0",
}
#: A time that a job may start by lies ahead: what JSON Schema has no word for.
_AHEAD: Final = st.datetimes(
    datetime(2030, 1, 1),  # noqa: DTZ001 bounds of hypothesis are naive
    datetime(2090, 1, 1),  # noqa: DTZ001 same
    timezones=st.just(UTC),
).map(lambda at: at.isoformat().replace("+00:00", "Z"))


class Client:
    """What a client does and a schema cannot say.

    Args:
        tenant: Whose the key is.
        key_id: The key's id.
        seen: The id of an event that a stream gave.
    """

    def __init__(self, tenant: str, key_id: str, seen: str) -> None:
        self._tenant = tenant
        self._key_id = key_id
        self._seen = seen

    def __call__(self, _: Any, case: Any) -> Any:
        """The case as a client would have it: schemathesis's ``map_case``."""
        path, ids = case.operation.path, case.path_parameters or {}
        # Nobody revokes their own key, or suspends themselves.
        if ids.get("key_id") == self._key_id:
            ids["key_id"] = str(uuid.uuid4())
        if ids.get("tenant_id") == self._tenant:
            ids["tenant_id"] = "another"
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return case
        headers, query, body = case.headers or {}, case.query or {}, case.body
        if isinstance(body, dict) and body.get("expires_at"):
            body["expires_at"] = "2090-01-01T00:00:00Z"  # lies ahead, also if it saw another time
        for name in list(headers):
            if name.lower() == "idempotency-key":
                headers[name] = str(uuid.uuid4())  # a fresh one for another request
            if name.lower() == "last-event-id":
                headers[name] = self._seen
        if "cursor" in query and path in self._cursors():
            query["cursor"] = self._cursors()[path](query, ids)
        return case

    def _cursors(self) -> dict[str, Callable[[dict[str, Any], dict[str, Any]], str]]:
        """Of lists whose cursors are bound to what they are of."""
        return {
            "/v1/jobs": self._of_jobs,
            "/v1/webhooks/{endpoint_id}/deliveries": lambda query, ids: _cursor(
                f"deliveries\0{ids['endpoint_id']}\0{query.get('status')}"
            ),
            "/v1/dead-letters": lambda _query, _ids: letter_cursor.encode(
                (datetime(2026, 1, 1, tzinfo=UTC), 0, str(uuid.uuid4()))
            ),
        }

    def _of_jobs(self, query: dict[str, Any], _ids: dict[str, Any]) -> str:
        flat = {**query, **query.get("metadata", {})}
        for name in ("cursor", "metadata"):
            flat.pop(name, None)
        items = [(name, str(value)) for name, value in flat.items()]
        return _cursor(filters(ListQuery.model_validate(flat), items).of(self._tenant))


def _cursor(of: str) -> str:
    """The cursor of some page of a list."""
    return cursor.encode(cursor.Position(datetime(2026, 1, 1, tzinfo=UTC), uuid.uuid4()), of)


def found_by_schemathesis(url: str, key: str, client: Client) -> tuple[Counter[str], list[str]]:
    """Calls by operation, and what any check in any phase found."""
    load_all_checks()
    schemathesis.openapi.format("date-time", _AHEAD)
    config = SchemathesisConfig.from_str(_CONFIG)
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json", config=config)
    schema.config.update(headers={"Authorization": f"Bearer {key}"})
    schema.hook("map_case")(client)
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


@pytest.mark.timeout(300)  # a few thousand calls: under a minute where nothing else runs
def test_schemathesis_finds_nothing_on_any_route(bare_edge: EdgeStack) -> None:
    _, api = bare_edge.api(_SETTINGS)
    key = add_key(bare_edge, _TENANT, "admin")
    [own] = bare_edge.sql("SELECT key_id FROM api_keys WHERE tenant_id = $1", _TENANT)
    api.headers["authorization"] = f"Bearer {key}"
    with api.stream("GET", "/v1/events") as taken:
        lines = taken.iter_lines()  # whoever lets go of them closes the stream
        seen = next(line for line in lines if line.startswith("id: "))
        client = Client(_TENANT, str(own["key_id"]), seen.removeprefix("id: "))
        calls, failures = found_by_schemathesis(str(api.base_url).rstrip("/"), key, client)
    assert not failures, "\n\n".join(failures)
    documented = {f"{method.upper()} {path}" for path, method, _ in operations(read(COMMITTED))}
    # What it reads the document from, it leaves out.
    assert set(calls) >= documented - {"GET /v1/openapi.json"}
