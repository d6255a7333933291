from __future__ import annotations

import asyncio
import signal
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ingest.db import engine
from ingest.store import tenants
from schemas.records import AuditEvent, PoolFact, Tenant
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.reading import records
from tests.integration.ingest.test_submit import add_key
from tests.support.wait import until

pytestmark = pytest.mark.stack


def put(api: httpx2.Client, tenant_id: str, **limits: Any) -> dict[str, Any]:
    answer = api.put(f"/v1/tenants/{tenant_id}", json=limits)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def fresh() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


def told_late(edge: EdgeStack, tenant_id: str, version: int) -> None:
    async def run() -> None:
        database = engine(edge.settings, 1)
        async with database.begin() as connection:
            await tenants.told(connection, tenant_id, version)
        await database.dispose()

    asyncio.run(run())


def compacted(edge: EdgeStack, tenant_id: str) -> list[Tenant]:
    found = records(edge, edge.topics.tenants, Tenant)
    return [r.value for r in found if r.key == tenant_id.encode()]


def facts(edge: EdgeStack, tenant_id: str) -> list[Tenant]:
    found = [r.value.tenant_changed for r in records(edge, edge.topics.inbox("mochi-1"), PoolFact)]
    return [c.tenant for c in found if c is not None and c.tenant.tenant_id == tenant_id]


def test_limits_are_read_back_at_once_and_told_to_kafka_and_to_the_audit_topic(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    tenant_id = fresh()
    assert api.get(f"/v1/tenants/{tenant_id}").status_code == 404
    first = put(api, tenant_id, rate_per_s=2.5, burst=10, weight=3)
    assert (first["rate_per_s"], first["max_in_flight"], first["suspended"]) == (2.5, None, False)
    put(api, tenant_id, rate_per_s=2.5, burst=10, weight=3)
    put(api, tenant_id, max_in_flight=4)
    path = f"/v1/tenants/{tenant_id}"
    until(lambda: bool(api.get(path).json()["published"]))
    wanted = Tenant(tenant_id=tenant_id, max_in_flight=4)
    assert compacted(edge, tenant_id)[-1] == facts(edge, tenant_id)[-1] == wanted

    def changes() -> list[dict[str, str]]:
        found = [r.value for r in records(edge, edge.topics.audit, AuditEvent)]
        return [e.details for e in found if e.subject == tenant_id and e.kind == "tenant.changed"]

    until(lambda: len(changes()) >= 2)
    assert len(changes()) == 2, "setting what is set changes nothing"
    assert changes()[1] == {
        "rate_per_s": "2.5 -> None",
        "burst": "10 -> None",
        "max_in_flight": "None -> 4",
        "weight": "3.0 -> 1.0",
    }


def test_a_suspended_tenant_reads_and_cancels_but_submits_nothing(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    tenant_id = fresh()
    with edge.client(add_key(edge, tenant_id)) as client:
        job = client.post("/v1/jobs", json={"prompt": "before"}).json()
        put(api, tenant_id, suspended=True)
        refused = client.post("/v1/jobs", json={"prompt": "after"})
        assert (refused.status_code, refused.json()["code"]) == (403, "tenant_suspended")
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 200
        assert [j["id"] for j in client.get("/v1/jobs").json()["data"]] == [job["id"]]
        assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202
        put(api, tenant_id)
        assert client.post("/v1/jobs", json={"prompt": "after"}).status_code == 202


def test_tenants_are_listed_page_by_page(api: httpx2.Client) -> None:
    made = sorted(fresh() for _ in range(3))
    for tenant_id in made:
        put(api, tenant_id)
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = api.get("/v1/tenants", params=query).json()
        found += [tenant["tenant_id"] for tenant in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == sorted(found)
    assert set(made) <= set(found)


@pytest.mark.parametrize(
    "body",
    [
        {"weight": 0},
        {"weight": -1},
        {"weight": None},
        {"burst": 0},
        {"burst": 1.5},
        {"rate_per_s": 0},
        {"rate_per_s": "5"},
        {"suspended": 1},
        {"tenant_id": "other"},
    ],
)
def test_limits_that_break_a_rule_are_not_set(api: httpx2.Client, body: dict[str, Any]) -> None:
    tenant_id = fresh()
    answer = api.put(f"/v1/tenants/{tenant_id}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert api.get(f"/v1/tenants/{tenant_id}").status_code == 404


@pytest.mark.parametrize("tenant_id", ["..", "a%2Fb", "a%00", "x" * 65, "-", "%E2%80%AE"])
def test_what_is_no_tenant_is_not_found(api: httpx2.Client, tenant_id: str) -> None:
    assert api.put(f"/v1/tenants/{tenant_id}", json={}).status_code in {404, 405}


@pytest.mark.strike
def test_a_worker_that_dies_once_kafka_has_a_change_leaves_it_to_be_told_again(
    bare_edge: EdgeStack, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    once.touch()
    bare_edge.sql("INSERT INTO tenants (tenant_id, burst) VALUES ('acme', 7)")
    dying = bare_edge.worker({"TTV_CRASH_AT": f"tenants_before_note:{once}"})
    assert dying.ended() == -signal.SIGKILL
    # The lease would have to run out: time passes faster here.
    bare_edge.sql("UPDATE tenants SET next_at = now()")
    bare_edge.worker()
    until(lambda: bare_edge.sql("SELECT 1 FROM tenants WHERE told_version <> version") == [])
    assert compacted(bare_edge, "acme") == [Tenant(tenant_id="acme", burst=7)] * 2
    assert facts(bare_edge, "acme") == [Tenant(tenant_id="acme", burst=7)] * 2


def test_whoever_tells_an_old_version_late_has_the_newest_told_again(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    tenant_id = fresh()
    put(api, tenant_id, burst=1)
    put(api, tenant_id, burst=2)
    path = f"/v1/tenants/{tenant_id}"
    until(lambda: bool(api.get(path).json()["published"]))
    before = len(compacted(edge, tenant_id))
    # A worker that was frozen while another told version 2 ends its work on version 1.
    told_late(edge, tenant_id, version=1)
    until(lambda: bool(api.get(path).json()["published"]))
    assert len(compacted(edge, tenant_id)) == before + 1
    assert compacted(edge, tenant_id)[-1].burst == 2
