from __future__ import annotations

import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ingest.tables import PROJECTED
from schemas.codec import codec
from schemas.events import job_event, refused_event
from schemas.records import JobProgress, Reason, Refusal
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.support.wait import until
from tests.unit.ingest.events import BEGAN, happened, job

pytestmark = pytest.mark.stack

WHOLE = ("Admitted", "Scheduled", "Started", "Retrying", "Scheduled", "Started", "Completed")


def rows(edge: EdgeStack) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Everything that is a function of the log."""
    columns = ", ".join(PROJECTED)
    return (
        edge.sql(f"SELECT job_id, {columns} FROM jobs ORDER BY job_id"),  # noqa: S608 our names
        edge.sql('SELECT * FROM job_events ORDER BY partition, "offset"'),
    )


def caught_up(edge: EdgeStack, events: int) -> None:
    """Wait until the timeline holds so many events."""
    until(
        lambda: edge.sql("SELECT count(*) AS n FROM job_events")[0]["n"] >= events,
        60,
        lambda: str(edge.sql("SELECT count(*) AS n FROM job_events")),
    )


def status(api: httpx2.Client, job_id: str) -> str | None:
    answer = api.get(f"/v1/jobs/{job_id}")
    return str(answer.json()["status"]) if answer.status_code == 200 else None


def test_a_direct_producers_job_appears_and_follows_its_events(
    api: httpx2.Client, log: Log
) -> None:
    of = job(metadata={"from": "kafka"}, priority="high", seed=7)
    log.write(happened(of, "Admitted", "Scheduled", "Started"))
    until(lambda: status(api, of.job_id) == "processing", 20)
    log.write(happened(of, "Admitted", "Scheduled", "Started", "Completed")[3:])
    until(lambda: status(api, of.job_id) == "completed", 20)
    shown = api.get(f"/v1/jobs/{of.job_id}").json()
    assert (shown["prompt"], shown["seed"], shown["priority"]) == ("a fox", 7, "high")
    assert shown["metadata"] == {"from": "kafka"}
    assert shown["started_at"] == "2026-03-01T12:00:02.000Z"
    assert shown["completed_at"] == "2026-03-01T12:00:03.000Z"
    assert shown["artifact"]["frames"] == 7
    assert "bucket" not in shown["artifact"]
    timeline = api.get(f"/v1/jobs/{of.job_id}/timeline").json()["data"]
    assert [event["kind"] for event in timeline] == [
        "Admitted",
        "Scheduled",
        "Started",
        "Completed",
    ]


def test_a_submitted_job_that_is_refused_says_why(api: httpx2.Client, log: Log) -> None:
    job_id = api.post("/v1/jobs", json={"prompt": "no"}).json()["id"]
    refusal = Refusal(
        job_id=job_id,
        tenant_id="default",
        pool="mochi-1",
        priority="normal",
        spec_digest="0" * 64,
        submitted_at=BEGAN,
        reason=Reason(code="rate_limited", message="Slow\x00 down."),
        metadata={},
    )
    log.write([refused_event(refusal, BEGAN)])
    until(lambda: status(api, job_id) == "failed", 20)
    shown = api.get(f"/v1/jobs/{job_id}").json()
    assert shown["reason"] == {"code": "rate_limited", "message": "Slow\ufffd down."}
    assert shown["prompt"] == "no"


def test_nothing_overwrites_a_terminal_state(api: httpx2.Client, log: Log) -> None:
    of = job()
    log.write(happened(of, "Admitted", "Cancelled"))
    log.write(happened(of, "Started", "Completed"))
    last = job()
    log.write(happened(last, "Admitted"))
    until(lambda: len(api.get(f"/v1/jobs/{of.job_id}/timeline").json().get("data", [])) == 4, 20)
    assert status(api, of.job_id) == "cancelled"
    assert api.get(f"/v1/jobs/{of.job_id}").json()["artifact"] is None


def test_an_unknown_kind_stays_in_the_timeline_and_changes_nothing(
    api: httpx2.Client, log: Log
) -> None:
    of = job()
    strange = happened(of, "Started")[0].model_copy(update={"kind": "Teleported", "event_id": "t"})
    log.write([*happened(of, "Admitted"), strange])
    until(lambda: len(api.get(f"/v1/jobs/{of.job_id}/timeline").json().get("data", [])) == 2, 20)
    assert status(api, of.job_id) == "pending"


def test_aborted_transactions_are_never_seen(api: httpx2.Client, log: Log) -> None:
    ghost, real = job(), job()
    for _ in range(20):
        log.write(happened(ghost, "Admitted", "Completed"), abort=True)
    log.write(happened(real, "Admitted"))
    until(lambda: status(api, real.job_id) == "pending", 20)
    assert status(api, ghost.job_id) is None


def test_progress_shows_on_a_running_job_and_never_on_an_ended_one(
    edge: EdgeStack, api: httpx2.Client, log: Log
) -> None:
    of = job()
    log.write(happened(of, "Admitted", "Started"))
    until(lambda: status(api, of.job_id) == "processing", 20)

    def report(step: int) -> None:
        progress = JobProgress(
            job_id=of.job_id, tenant_id="default", attempt=1, slot=0, phase="denoising",
            step=step, total=64, eta_s=1.5,
        )  # fmt: skip
        topic = edge.topics.progress
        log.write_raw(topic, of.job_id, codec(edge.settings.registry).encode(topic, progress))

    report(3)
    until(lambda: (api.get(f"/v1/jobs/{of.job_id}").json()["progress"] or {}).get("step") == 3, 20)
    assert api.get(f"/v1/jobs/{of.job_id}").json()["progress"] == {
        "phase": "denoising", "step": 3, "total": 64, "eta_s": 1.5, "gpu_utilisation": None,
    }  # fmt: skip
    log.write(happened(of, "Admitted", "Started", "Completed")[2:])
    until(lambda: status(api, of.job_id) == "completed", 20)
    report(4)
    log.write_raw(edge.topics.progress, "junk", b"junk")
    second = job()
    log.write(happened(second, "Admitted", "Started"))
    until(lambda: status(api, second.job_id) == "processing", 20)
    assert api.get(f"/v1/jobs/{of.job_id}").json()["progress"] is None


def test_a_replay_from_zero_gives_the_same_rows(bare_edge: EdgeStack) -> None:
    log = bare_edge.log()
    _, api = bare_edge.api()
    submitted = api.post("/v1/jobs", json={"prompt": "over http"}).json()["id"]
    many = [job() for _ in range(200)]
    for n, of in enumerate(many):
        log.write(happened(of, *WHOLE[: 1 + n % len(WHOLE)]))
    over_http = job(job_id=submitted).model_copy(
        update={"spec": job(job_id=submitted).spec.model_copy(update={"prompt": "over http"})}
    )
    log.write(happened(over_http, *WHOLE))
    total = sum(1 + n % len(WHOLE) for n in range(200)) + len(WHOLE)
    worker = bare_edge.worker()
    caught_up(bare_edge, total)
    before = rows(bare_edge)
    assert len(before[0]) == 201
    worker.stop()

    # Over what is there: offsets lost, rows kept.
    bare_edge.sql("DELETE FROM feed_offsets")
    worker = bare_edge.worker()
    offsets = (
        "SELECT coalesce(sum(next_offset), 0) AS n FROM feed_offsets WHERE feed = 'projection'"
    )
    until(lambda: bare_edge.sql(offsets)[0]["n"] >= total, 60)
    assert rows(bare_edge) == before
    worker.stop()

    # And into nothing.
    bare_edge.sql("TRUNCATE jobs, job_events, feed_offsets")
    bare_edge.worker()
    caught_up(bare_edge, total)
    assert rows(bare_edge) == before


@pytest.mark.parametrize("point", ["before_offsets", "before_commit", "after_commit"])
def test_killed_inside_a_batch_it_repeats_nothing_and_loses_nothing(
    bare_edge: EdgeStack, tmp_path: Path, point: str
) -> None:
    marker = tmp_path / "crash"
    marker.touch()
    log = bare_edge.log()
    many = [job() for _ in range(20)]
    for of in many:
        log.write(happened(of, *WHOLE))
    doomed = bare_edge.worker({"TTV_CRASH_AT": f"projection_{point}:{marker}"})
    assert doomed.ended() == -9
    stored = bare_edge.sql("SELECT count(*) AS n FROM job_events")[0]["n"]
    kept = bare_edge.sql("SELECT 1 FROM feed_offsets WHERE feed = 'projection'")
    # Rows and offsets are there together, or neither is.
    assert bool(stored) == bool(kept) == (point == "after_commit")
    bare_edge.worker()
    caught_up(bare_edge, 20 * len(WHOLE))
    found = bare_edge.sql("SELECT status FROM jobs")
    assert [row["status"] for row in found] == ["completed"] * 20
    assert bare_edge.sql("SELECT count(*) AS n FROM job_events")[0]["n"] == 20 * len(WHOLE)


def test_an_unreadable_record_halts_the_feed_with_an_alarm_and_is_not_skipped(
    bare_edge: EdgeStack,
) -> None:
    log = bare_edge.log()
    before = job()
    log.write(happened(before, "Admitted"))
    log.write_raw(bare_edge.topics.events, before.job_id, b"\x00garbage")
    log.write(happened(before, "Admitted", "Completed")[1:])
    for _ in range(2):
        worker = bare_edge.worker()
        assert worker.ended(60) == 1
        alarms = [
            json.loads(line)
            for line in worker.log.read_text().splitlines()
            if '"feed.halted"' in line
        ]
        assert [alarm["level"] for alarm in alarms] == ["error"]
        [row] = bare_edge.sql("SELECT status FROM jobs")
        assert row["status"] == "pending"


def test_two_workers_share_the_work_and_one_takes_over_at_once(bare_edge: EdgeStack) -> None:
    log = bare_edge.log()
    first, second = bare_edge.worker(), bare_edge.worker()
    log.write(happened(job(), "Admitted"))
    caught_up(bare_edge, 1)
    first.stop()
    log.write(happened(job(), "Admitted"))
    caught_up(bare_edge, 2)
    assert second.alive()


def test_a_refused_request_with_an_id_that_is_no_uuid_stops_nothing(
    api: httpx2.Client, log: Log
) -> None:
    of = job()
    odd = job_event("Failed", of, BEGAN + timedelta(seconds=1), 0).model_copy(
        update={"job_id": f"not a uuid {uuid.uuid4()}"}
    )
    log.write([odd])
    log.write(happened(of, "Admitted"))
    until(lambda: status(api, of.job_id) == "pending", 20)
