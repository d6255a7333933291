from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest.estimate import Model, Work
from ingest.queue import MOST, Place, Queue, left, work_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: Every render takes ten seconds.
TEN = Model(10.0, 0.0, 0.0)
WORK = Work(64, 163, 848 * 480, guided=True)


def row(n: int, rank: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "job_id": uuid.UUID(int=n),
        "queue_rank": rank,
        "queue_at": NOW - timedelta(hours=1) + timedelta(seconds=n),
        "status": "pending",
        "phase": "Admitted",
        "progress": None,
        "updated_at": NOW,
        "work_steps": 64,
        "work_frames": 163,
        "work_pixels": 848 * 480,
        "work_guided": True,
        **fields,
    }


def queue(slots: int, on_slots: list[dict[str, Any]], waiting: list[dict[str, Any]]) -> Queue:
    return Queue(TEN, slots, on_slots, waiting, NOW)


def running(**fields: Any) -> dict[str, Any]:
    return row(0, status="processing", phase="Started", **fields)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_jobs_start_one_after_the_other_as_slots_get_free() -> None:
    waiting = [row(1, 0), row(2), row(3)]
    of = queue(2, [running(progress={"eta_s": 4.0}), running()], waiting)
    assert [of.place(each) for each in waiting] == [
        Place(1, after(4), after(14)),
        Place(2, after(10), after(20)),
        Place(3, after(14), after(24)),
    ]


def test_a_job_that_came_after_the_queue_was_read_has_a_place_by_its_priority() -> None:
    of = queue(1, [], [row(1, 0), row(2), row(3), row(4, 2)])
    late = row(9)
    assert of.place(late) == Place(4, after(30), after(40))
    assert of.place_of_new("high", WORK, NOW) == Place(2, after(10), after(20))
    assert of.place_of_new("low", WORK, NOW) == Place(5, after(40), after(50))


def test_only_waiting_jobs_have_a_place_and_one_with_a_gpu_is_at_zero() -> None:
    of = queue(1, [], [])
    assert of.place(running()) is None
    assert of.place(row(1, status="failed", phase="Expired")) is None
    assert of.place(row(1, phase="Scheduled")) == Place(0, NOW, after(10))


def test_without_a_working_slot_there_is_a_position_and_no_time() -> None:
    waiting = [row(1), row(2)]
    of = queue(0, [running()], waiting)
    assert of.place(waiting[1]) == Place(2)
    assert of.place(row(1, phase="Scheduled")) == Place(0)


def test_positions_are_counted_up_to_a_bound() -> None:
    of = queue(1, [], [row(n) for n in range(MOST)])
    assert of.place(row(MOST - 1)) == Place(MOST, after(10 * (MOST - 1)), after(10 * MOST))
    assert of.place(row(MOST + 5)) == Place(MOST)


def test_what_a_job_reports_wins_over_what_its_size_says() -> None:
    assert left(running(progress={"eta_s": 3.5}), TEN, NOW) == 3.5
    assert left(running(progress={"eta_s": None}), TEN, NOW) == 10
    assert left(running(updated_at=NOW - timedelta(seconds=4)), TEN, NOW) == 6
    assert left(running(updated_at=NOW - timedelta(hours=1)), TEN, NOW) == 0.5
    scheduled = row(1, phase="Scheduled", updated_at=NOW - timedelta(seconds=4))
    assert left(scheduled, TEN, NOW) == 10


def test_a_job_of_unknown_size_counts_as_the_default_video() -> None:
    assert work_of(row(1, work_steps=None)) == WORK
