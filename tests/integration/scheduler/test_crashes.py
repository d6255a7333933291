"""A scheduler that is killed loses no fact and acts on none twice."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from schemas.records import Job
from tests.integration.scheduler.pool_bus import PoolBus, a_job, played
from tests.integration.streams.bus import wait_for

SCHEDULER = "streams.scheduler"
SLOTS = 3


def ended(pool: PoolBus, count: int) -> bool:
    return len(pool.ends()) >= count


def assert_each_job_went_its_way_once(pool: PoolBus, jobs: Sequence[Job]) -> None:
    """One terminal event a job, one order, no gap in any slot's numbers."""
    ids = {job.job_id for job in jobs}
    wait_for("all ends", partial(ended, pool, len(ids)))
    ends = pool.ends()
    assert Counter(end.job_id for end in ends) == Counter(dict.fromkeys(ids, 1))
    ways = {job_id: [e.kind for e in pool.events() if e.job_id == job_id] for job_id in ids}
    assert {tuple(way) for way in ways.values()} == {("Admitted", "Scheduled", "Completed")}
    orders = pool.orders()
    assert Counter(order.job_id for _, order in orders) == Counter(dict.fromkeys(ids, 1))
    for slot in range(SLOTS):
        numbers = [order.n for number, order in orders if number == slot]
        assert numbers == list(range(1, len(numbers) + 1))


def assert_state_is_contiguous(pool: PoolBus) -> None:
    """Every transaction moved the cursor on, in one life of the pool."""
    cursors = pool.cursors()
    offsets = [cursor.offset for cursor in cursors]
    assert offsets == sorted(set(offsets))
    assert len({cursor.pool_incarnation for cursor in cursors}) == 1
    assert pool.folded() >= offsets[-1]


def test_a_scheduler_killed_again_and_again_loses_and_repeats_nothing(pool: PoolBus) -> None:
    jobs: list[Job] = []
    with played(pool, SLOTS):
        for _ in range(4):
            with pool.run(SCHEDULER) as scheduler:
                wanted = len(pool.ends()) + 4
                jobs += (more := [a_job() for _ in range(15)])
                pool.admit(*more)
                wait_for("work going on", partial(ended, pool, wanted))
                scheduler.kill()
        with pool.run(SCHEDULER) as scheduler:
            assert_each_job_went_its_way_once(pool, jobs)
            assert scheduler.terminate() == 0
    assert_state_is_contiguous(pool)


@pytest.mark.parametrize(
    "point",
    [
        "scheduler_during_restore",
        "scheduler_after_read",
        "scheduler_before_send_offsets",
        "scheduler_before_commit",
        "scheduler_after_commit",
    ],
)
def test_a_crash_at_a_commit_edge_is_made_good(pool: PoolBus, tmp_path: Path, point: str) -> None:
    marker = tmp_path / "crash once"
    marker.touch()
    jobs = [a_job() for _ in range(4)]
    with played(pool, SLOTS):
        if point == "scheduler_during_restore":  # something to restore
            with pool.run(SCHEDULER):
                pool.admit(*jobs[:2])
                wait_for("first ends", pool.ends)
        pool.admit(*jobs)  # two of them may be repeats
        with pool.run(SCHEDULER, crash_at=f"{point}:{marker}") as scheduler:
            assert scheduler.died() == -9
        assert not marker.exists()
        with pool.run(SCHEDULER, crash_at=f"{point}:{marker}") as scheduler:
            assert_each_job_went_its_way_once(pool, jobs)
            assert scheduler.terminate() == 0
    assert_state_is_contiguous(pool)
