"""What a client is told of a job that waits, and how it waits for it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from schemas.codec import codec
from schemas.events import job_event
from schemas.records import PoolOutlook
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.support.wait import until
from tests.unit.ingest.events import happened, job

pytestmark = pytest.mark.stack

#: Every render takes a hundred seconds, and a GPU-second a cent.
HUNDRED = {"fixed_s": 100.0, "s_per_petaflop": 0.0, "s_per_megapixel": 0.0}


@pytest.fixture(scope="module")
def alone(edge: EdgeStack, log: Log) -> httpx2.Client:
    """The edge with nobody in the queue but who comes from now on, one slot, known run times."""
    edge.sql(
        "UPDATE jobs SET status = 'cancelled', phase = 'Cancelled', completed_at = now() "
        "WHERE completed_at IS NULL"
    )
    say(edge, log, slots=1)
    return edge.client(edge.key)


def say(edge: EdgeStack, log: Log, **fields: Any) -> None:
    """Publish an outlook as the scheduler does, and wait until it is known."""
    said = PoolOutlook(
        pool=edge.settings.pool,
        busy=0,
        waiting={},
        coefficients=HUNDRED,
        price_per_gpu_s=0.01,
        **fields,
    )
    topic = edge.topics.outlook(edge.settings.pool)
    log.write_raw(topic, said.pool, codec(edge.settings.registry).encode(topic, said))
    query = "SELECT 1 FROM pool_outlooks WHERE slots = $1"
    until(lambda: len(edge.sql(query, said.slots)) == 1, 20)


def at(shown: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(shown["queue"][name])


def test_waiting_jobs_have_a_place_and_times_and_an_estimate_has_the_next(
    edge: EdgeStack, log: Log, alone: httpx2.Client
) -> None:
    first = alone.post("/v1/jobs", json={"prompt": "a"}).json()["id"]
    second = alone.post("/v1/jobs", json={"prompt": "b"}).json()["id"]
    urgent = job(priority="high", tenant_id="somebody-else")
    log.write(happened(urgent, "Admitted"))

    def places() -> list[int | None]:
        found = [alone.get(f"/v1/jobs/{each}").json() for each in (first, second)]
        return [shown["queue"] and shown["queue"]["position"] for shown in found]

    until(lambda: places() == [2, 3], 20, lambda: str(places()))
    listed = {shown["id"]: shown for shown in alone.get("/v1/jobs").json()["data"]}
    start = at(listed[first], "expected_start_at")
    assert abs(start - datetime.now(UTC) - timedelta(seconds=100)) < timedelta(seconds=30)
    assert at(listed[second], "expected_start_at") - start == timedelta(seconds=100)
    assert at(listed[first], "expected_finish_at") - start == timedelta(seconds=100)

    before = edge.sql("SELECT count(*) AS n FROM jobs")
    estimate = alone.post("/v1/jobs/estimate", json={"prompt": "c"})
    assert estimate.status_code == 200, estimate.text
    told = estimate.json()
    assert (told["seconds"], told["gpu_seconds"]) == (100.0, 100.0)
    assert told["cost"] == {"amount": "1.0000", "currency": "USD"}
    assert told["queue"]["position"] == 4
    ahead = alone.post("/v1/jobs/estimate", json={"prompt": "c", "priority": "high"}).json()
    assert ahead["queue"]["position"] == 2
    assert edge.sql("SELECT count(*) AS n FROM jobs") == before

    mine = job(first)
    log.write(happened(mine, "Admitted", "Scheduled"))
    until(lambda: places() == [0, 2], 20, lambda: str(places()))
    log.write(happened(mine, "Admitted", "Scheduled", "Started")[2:])
    until(lambda: places() == [None, 2], 20, lambda: str(places()))


def test_an_estimate_is_refused_as_the_submit_would_be(alone: httpx2.Client) -> None:
    for body in ({}, {"prompt": "x", "width": 33}, {"prompt": "x", "unknown": 1}):
        estimate, submit = (
            alone.post(path, json=body) for path in ("/v1/jobs/estimate", "/v1/jobs")
        )
        assert estimate.status_code == submit.status_code == 422
        assert estimate.json()["errors"] == submit.json()["errors"]


def test_a_submit_that_waits_is_answered_with_the_end(
    alone: httpx2.Client, log: Log, edge: EdgeStack
) -> None:
    def finish() -> None:
        query = 'SELECT job_id FROM jobs WHERE metadata = \'{"of": "wait"}\'::jsonb'
        until(lambda: len(edge.sql(query)) == 1, 20)
        of = job(str(edge.sql(query)[0]["job_id"]), metadata={"of": "wait"})
        log.write(happened(of, "Admitted", "Scheduled", "Started"))
        log.write(happened(of, "Completed"))

    ender = threading.Thread(target=finish)
    ender.start()
    body = {"prompt": "a", "metadata": {"of": "wait"}}
    answer = alone.post("/v1/jobs", json=body, headers={"Prefer": "wait=30"})
    ender.join(30)
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.headers["preference-applied"] == "wait=30"
    # It has ended: who asks again does not wait.
    began = time.monotonic()
    again = alone.get(f"/v1/jobs/{answer.json()['id']}", headers={"Prefer": "wait=30"})
    assert again.json()["status"] == "completed"
    assert again.headers["preference-applied"] == "wait=30"
    assert time.monotonic() - began < 15


def test_a_get_waits_for_a_change_and_not_longer_than_it_said(
    alone: httpx2.Client, log: Log
) -> None:
    job_id = alone.post("/v1/jobs", json={"prompt": "a"}).json()["id"]
    path = f"/v1/jobs/{job_id}"
    unchanged = alone.get(path, headers={"Prefer": "wait=1"})
    assert (unchanged.json()["phase"], unchanged.headers["preference-applied"]) == (
        "Submitted",
        "wait=1",
    )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(alone.get, path, headers={"Prefer": "wait=25"})
        of = job(job_id)
        event = job_event("Admitted", of, of.submitted_at, 0)
        log.write([event])
        assert waiting.result(24).json()["phase"] == "Admitted"
    assert "preference-applied" not in alone.get(path).headers
