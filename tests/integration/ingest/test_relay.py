from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from schemas.records import JobRequested, PoolFact
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.reading import records
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack


def requested(edge: EdgeStack) -> Counter[str]:
    """How often each job was produced."""
    found = records(edge, edge.topics.requested("normal"), JobRequested)
    return Counter(r.value.job_id or "" for r in found)


def test_a_job_committed_but_not_produced_is_produced_by_the_relay(
    bare_edge: EdgeStack, tmp_path: Path
) -> None:
    marker = tmp_path / "crash"
    marker.touch()
    doomed, api = bare_edge.api({"TTV_CRASH_AT": f"after_submit_commit:{marker}"})
    job_id = str(uuid.uuid4())
    trace = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    with pytest.raises(httpx2.TransportError):
        api.post("/v1/jobs", json={"prompt": "x", "job_id": job_id}, headers={"traceparent": trace})
    assert doomed.ended() == -9
    assert requested(bare_edge)[job_id] == 0
    # The client tries again, elsewhere, and is told of the same job.
    _, second = bare_edge.api({"TTV_RELAY_AFTER": "0.3"})
    again = second.post("/v1/jobs", json={"prompt": "x", "job_id": job_id})
    assert (again.status_code, again.json()["id"]) == (202, job_id)
    bare_edge.sql("UPDATE jobs SET next_produce_at = now()")
    bare_edge.worker({"TTV_RELAY_AFTER": "0.3"})
    until(lambda: requested(bare_edge)[job_id] >= 1, 30)
    [first, *_] = records(bare_edge, bare_edge.topics.requested("normal"), JobRequested)
    assert first.value == JobRequested(job_id=job_id, tenant_id="default", prompt="x")
    assert first.headers["traceparent"].decode()[3:35] == trace[3:35]


def test_the_relay_goes_on_until_an_event_answers_and_two_workers_share_it(
    bare_edge: EdgeStack,
) -> None:
    _, api = bare_edge.api({"TTV_RELAY_AFTER": "0.2"})
    log = bare_edge.log()
    ids = [api.post("/v1/jobs", json={"prompt": f"r{n}"}).json()["id"] for n in range(20)]
    for _ in range(2):
        bare_edge.worker({"TTV_RELAY_AFTER": "0.2"})
    until(lambda: min(requested(bare_edge)[job_id] for job_id in ids) >= 2, 30)
    for job_id in ids:
        log.write(happened(job(job_id=job_id), "Admitted"))
    waiting = "SELECT count(*) AS n FROM jobs WHERE confirmed_at IS NULL"
    until(lambda: bare_edge.sql(waiting)[0]["n"] == 0, 30)
    sends = bare_edge.sql("SELECT produce_attempts AS n FROM jobs")
    # The submit's own send, and one for each lease: never the same one twice.
    produced = requested(bare_edge)
    assert sum(produced.values()) <= sum(row["n"] for row in sends) + len(ids)
    before = sum(row["n"] for row in sends)
    log.write(happened(job(), "Admitted"))
    until(lambda: len(bare_edge.sql("SELECT 1 FROM job_events")) == 21, 20)
    assert sum(r["n"] for r in bare_edge.sql("SELECT produce_attempts AS n FROM jobs")) == before


def test_a_cancel_is_durable_and_sent_until_the_job_has_ended(bare_edge: EdgeStack) -> None:
    api = bare_edge.start_api_without_kafka()
    log = bare_edge.log()
    job_id = api.post("/v1/jobs", json={"prompt": "x"}).json()["id"]
    answer = api.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 202
    assert answer.json()["cancel_requested_at"] is not None
    assert api.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    bare_edge.sql("UPDATE jobs SET next_cancel_at = now()")
    bare_edge.worker({"TTV_RELAY_AFTER": "0.3"})

    def asked() -> list[PoolFact]:
        return [r.value for r in records(bare_edge, bare_edge.topics.inbox("mochi-1"), PoolFact)]

    until(lambda: len(asked()) >= 2, 30)
    assert {fact.kind for fact in asked()} == {"CancelRequested"}
    fact = asked()[0].cancel_requested
    assert fact is not None
    assert (fact.job_id, fact.tenant_id, fact.pool) == (job_id, "default", "mochi-1")
    log.write(happened(job(job_id=job_id), "Admitted", "Cancelled"))
    until(lambda: api.get(f"/v1/jobs/{job_id}").json()["status"] == "cancelled", 20)
    assert bare_edge.sql("SELECT next_cancel_at FROM jobs") == [{"next_cancel_at": None}]
    ended = api.post(f"/v1/jobs/{job_id}/cancel")
    assert (ended.status_code, ended.json()["code"]) == (409, "job_ended")
    assert ended.json()["job"]["status"] == "cancelled"
