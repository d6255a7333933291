from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import asyncpg

from ingest.cursor import Position
from ingest.listing import Filters
from ingest.store.listing import statement
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.test_submit import add_key
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack


def test_pages_hold_every_job_once_newest_first_while_jobs_arrive(edge: EdgeStack) -> None:
    with edge.client(add_key(edge, "pages")) as api:
        made = [api.post("/v1/jobs", json={"prompt": f"p{n}"}).json()["id"] for n in range(25)]
        seen: list[str] = []
        cursor = None
        for _ in range(10):
            params = {"limit": "7"} | ({"cursor": cursor} if cursor else {})
            page = api.get("/v1/jobs", params=params).json()
            seen += [item["id"] for item in page["data"]]
            api.post("/v1/jobs", json={"prompt": "newer"})
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == made[::-1]


def test_a_status_filters(edge: EdgeStack, log: Log) -> None:
    tenant = f"filter-{uuid.uuid4().hex[:8]}"
    waiting, done = job(tenant_id=tenant), job(tenant_id=tenant)
    log.write(happened(waiting, "Admitted"))
    log.write(happened(done, "Admitted", "Started", "Completed"))
    with edge.client(add_key(edge, tenant)) as api:
        until(lambda: len(api.get("/v1/jobs").json()["data"]) == 2, 20)
        for status, wanted in (("completed", [done.job_id]), ("pending", [waiting.job_id])):
            until(
                lambda status=status, wanted=wanted: (
                    [  # type: ignore[misc]
                        item["id"]
                        for item in api.get("/v1/jobs", params={"status": status}).json()["data"]
                    ]
                    == wanted
                ),
                20,
            )
        assert api.get("/v1/jobs", params={"status": "failed"}).json()["data"] == []


@pytest.mark.parametrize("cursor", ["x", "AAAA", "'; DROP TABLE jobs; --", "\u00e9", "A" * 64])
def test_a_tampered_cursor_is_refused(api: httpx2.Client, cursor: str) -> None:
    answer = api.get("/v1/jobs", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cursor"


def test_a_cursor_is_refused_to_other_tenants_and_with_other_filters(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    for n in range(2):
        api.post("/v1/jobs", json={"prompt": f"c{n}"})
    cursor = api.get("/v1/jobs", params={"limit": "1"}).json()["next_cursor"]
    with edge.client(add_key(edge, "stranger")) as other:
        for client, extra in ((other, {}), (api, {"order": "asc"}), (api, {"status": "pending"})):
            answer = client.get("/v1/jobs", params={"cursor": cursor, **extra})
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["code"] == "invalid_cursor"


def test_filters_hold_together_and_in_either_order(edge: EdgeStack) -> None:
    tenant = f"labels-{uuid.uuid4().hex[:8]}"
    with edge.client(add_key(edge, tenant)) as api:
        for n in range(12):
            label = {"team": "a b" if n % 2 else "c", "n": str(n)}
            priority = ("high", "normal", "low")[n % 3]
            made = {"prompt": str(n), "priority": priority, "metadata": label}
            assert api.post("/v1/jobs", json=made).status_code == 202

        def listed(**params: Any) -> list[int]:
            answer = api.get("/v1/jobs", params=params)
            assert answer.status_code == 200, answer.text
            return [int(item["prompt"]) for item in answer.json()["data"]]

        assert listed(priority=["high", "low"], order="asc") == [0, 2, 3, 5, 6, 8, 9, 11]
        assert listed(status=["pending", "failed"], priority="normal") == [10, 7, 4, 1]
        assert listed(**{"metadata.team": "a b", "priority": "high"}) == [9, 3]
        assert listed(**{"metadata.team": "a b", "metadata.n": "5"}) == [5]
        assert listed(**{"metadata.n": "none"}) == []
        times = [job["created_at"] for job in api.get("/v1/jobs?order=asc").json()["data"]]
        assert listed(created_after=times[-1])[0] == 11
        assert listed(created_before=times[0]) == []
        seen: list[int] = []
        query: dict[str, Any] = {"priority": ["high", "low"], "order": "asc", "limit": 3}
        while True:
            page = api.get("/v1/jobs", params=query).json()
            seen += [int(item["prompt"]) for item in page["data"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert seen == [0, 2, 3, 5, 6, 8, 9, 11]


@pytest.mark.parametrize(
    "query",
    [
        "color=red",
        "status=done",
        "created_after=yesterday",
        "order=up",
        "metadata.k=a&metadata.k=b",
        "metadata.k=%00",
        "limit=101",
        "&".join(f"metadata.k{n}=1" for n in range(17)),
    ],
)
def test_a_filter_that_is_none_is_refused(api: httpx2.Client, query: str) -> None:
    answer = api.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


_MANY = """
    INSERT INTO jobs (job_id, tenant_id, status, phase, priority, pool, metadata, created_at)
    SELECT gen_random_uuid(), 'many',
        (ARRAY['pending', 'processing', 'completed', 'failed', 'cancelled'])[1 + n % 5], 'x',
        (ARRAY['high', 'normal', 'low'])[1 + n % 3], 'mochi-1',
        CASE WHEN n % 50 = 0 THEN jsonb_build_object('n', n::text) ELSE '{}'::jsonb END,
        now() - n * interval '1 second'
    FROM generate_series(1, 20000) n
"""


def test_no_page_reads_or_sorts_more_than_itself(bare_edge: EdgeStack) -> None:
    bare_edge.sql(_MANY)
    bare_edge.sql("ANALYZE jobs")
    here = Position(datetime.now(UTC) - timedelta(hours=2), uuid.uuid4())
    asked = {
        "all": (Filters(), "jobs_by_tenant"),
        "oldest first": (Filters(ascending=True), "jobs_by_tenant"),
        "range": (Filters(before=here.created_at), "jobs_by_tenant"),
        "status": (Filters(("failed",)), "jobs_by_state"),
        "statuses": (Filters(("failed", "pending"), ascending=True), "jobs_by_state"),
        "both": (Filters(("failed",), ("high", "low")), "jobs_by_state"),
        "priority": (Filters((), ("low",)), "jobs_by_state"),
        "label": (Filters(labels={"n": "500"}), "jobs_by_label"),
    }
    for name, (filters, index) in asked.items():
        for position in (None, here):
            query = statement("many", filters, position, 21)
            plan = explained(bare_edge, query)
            assert index in plan, f"{name}: {plan}"
            assert "Seq Scan" not in plan, f"{name}: {plan}"
            if name != "label":  # what few rows a label finds are sorted
                assert '"Sort"' not in plan, f"{name}: {plan}"


def explained(edge: EdgeStack, query: Select[Any]) -> str:
    """PostgreSQL's plan of a query."""
    compiled = query.compile(
        dialect=asyncpg.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"render_postcompile": True},
    )
    given = [compiled.params[name] for name in compiled.positiontup or ()]
    values = [json.dumps(value) if isinstance(value, dict) else value for value in given]
    [row] = edge.sql(f"EXPLAIN (FORMAT JSON) {compiled}", *values)
    return str(row["QUERY PLAN"])
