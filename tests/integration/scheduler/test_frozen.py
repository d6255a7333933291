"""A scheduler that was frozen and overtaken neither commits, nor announces, nor fences."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from gpu_consumer.attempt import Attempt
from gpu_consumer.slot_log import FencedError, SlotLog
from schemas.records import Assignment, Job
from tests.integration.scheduler.pool_bus import PlayedSlot, PoolBus, a_job, played
from tests.integration.scheduler.test_crashes import (
    SCHEDULER,
    SLOTS,
    assert_each_job_went_its_way_once,
    assert_state_is_contiguous,
)
from tests.integration.streams.bus import Running, wait_for


@contextmanager
def frozen_at(pool: PoolBus, folder: Path, point: str, **extra: str) -> Iterator[Running]:
    """A scheduler that stops at the point, the first time that it comes there."""
    marker = folder / point
    marker.write_text("SIGSTOP")
    with pool.run(SCHEDULER, crash_at=f"{folder}/", instance="old", **extra) as scheduler:
        wait_for("the freeze", lambda: not marker.exists() and scheduler.frozen())
        yield scheduler


def announced(pool: PoolBus, isolation: str) -> int:
    """Job events in the log, committed or not."""
    return len(pool.messages(pool.topics.events, isolation))


def test_a_stand_by_does_not_disturb_the_one_at_work_and_takes_over_from_it(
    pool: PoolBus,
) -> None:
    first, second = [a_job() for _ in range(3)], [a_job() for _ in range(3)]
    # Nothing is committed while the other joins: a commit under way would cost a restart.
    with pool.run(SCHEDULER, instance="old", tick_interval="60") as old:
        wait_for("the old one at work", partial(old.says, "scheduler.assigned"))
        with pool.run(SCHEDULER, instance="new") as new:
            wait_for("the new one in the group", lambda: pool.members("scheduler") == 2)
            with played(pool, SLOTS):
                pool.admit(*first)
                assert_each_job_went_its_way_once(pool, first)
                assert not new.says("scheduler.assigned")
                old.kill()
                pool.admit(*second)
                assert_each_job_went_its_way_once(pool, first + second)
                assert new.terminate() == 0
    assert_state_is_contiguous(pool)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("scheduler_after_read", False),
        ("scheduler_before_send_offsets", True),
        ("scheduler_before_commit", True),
    ],
)
def test_a_scheduler_frozen_at_a_commit_edge_and_overtaken_commits_nothing(
    pool: PoolBus,
    tmp_path: Path,
    point: str,
    said: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    jobs = [a_job() for _ in range(4)]
    pool.admit(*jobs)
    with played(pool, SLOTS), frozen_at(pool, tmp_path, point) as old:
        assert (announced(pool, "read_uncommitted") > 0) is said
        with pool.run(SCHEDULER, instance="new"):
            assert_each_job_went_its_way_once(pool, jobs)
            old.go_on()
            assert old.died() in ENDED
        with pool.run(SCHEDULER, instance="new"):  # a group that changes may cost it a restart
            pool.admit(more := a_job())
            assert_each_job_went_its_way_once(pool, [*jobs, more])
    assert_state_is_contiguous(pool)


class Fenced:
    """A slot that took one order and was not heard of again."""

    def __init__(self, pool: PoolBus, slot: int) -> None:
        self.pool, self.slot = pool, slot
        self.played = PlayedSlot(pool, slot)
        self.played.open()

    def order_of(self, log: SlotLog) -> tuple[Assignment, int]:
        message = wait_for("an order", partial(log.poll, 0.5))
        order = self.pool.codec.decode(Assignment, bytes(message.value() or b""))
        return order, message.offset() or 0


@pytest.fixture
def lost(pool: PoolBus) -> Iterator[tuple[Fenced, Job]]:
    """The only slot that was open when a job came, silent since then."""
    slot = Fenced(pool, 0)
    job = a_job()
    with pool.run(SCHEDULER) as scheduler:
        pool.admit(job)
        order, _ = slot.order_of(slot.played.log)
        assert order.job_id == job.job_id
        assert scheduler.terminate() == 0
    yield slot, job
    slot.played.log.close()


def ways(pool: PoolBus, job: Job) -> Counter[str]:
    return Counter(event.kind for event in pool.events() if event.job_id == job.job_id)


#: It found out by itself, or its watchdog saw that a call had outlasted its deadline.
ENDED = {1, 70}
IMPATIENT = {"beat_timeout": "2"}


@pytest.mark.parametrize("point", ["fence_before_init", "fence_before_commit"])
def test_a_scheduler_that_dies_while_it_fences_has_the_slot_fenced_by_the_next(
    pool: PoolBus, tmp_path: Path, lost: tuple[Fenced, Job], point: str
) -> None:
    slot, job = lost
    (tmp_path / point).touch()
    with pool.run(SCHEDULER, crash_at=f"{tmp_path}/", **IMPATIENT) as old:
        assert old.died() == -9
    with pool.run(SCHEDULER), played(pool, 1, first=1):
        wait_for("the end", pool.ends)
    assert ways(pool, job) == {"Admitted": 1, "Scheduled": 2, "Retrying": 1, "Completed": 1}
    place = pool.place(slot.slot)
    assert place is not None
    assert (place[0], place[1].n, place[1].holder) == (1, 1, "fenced")


def test_a_scheduler_frozen_in_a_fence_and_overtaken_does_not_fence_twice(
    pool: PoolBus, tmp_path: Path, lost: tuple[Fenced, Job]
) -> None:
    slot, job = lost
    with frozen_at(pool, tmp_path, "fence_before_commit", **IMPATIENT) as old:
        with pool.run(SCHEDULER, instance="new"), played(pool, 1, first=1):
            wait_for("the end", pool.ends)
            old.go_on()
            assert old.died() in ENDED
        assert old.says("slot.fence_failed")
    assert ways(pool, job) == {"Admitted": 1, "Scheduled": 2, "Retrying": 1, "Completed": 1}
    assert sum(fact.kind == "SlotFenced" for fact in pool.facts()) == 1
    with pytest.raises(FencedError):
        slot.played.log.commit([], done=1, offset=1)


def test_a_fence_that_was_overtaken_leaves_the_slot_that_has_come_back_alone(
    pool: PoolBus, tmp_path: Path, lost: tuple[Fenced, Job]
) -> None:
    """The zombie takes the slot's transactional id, and lets it go: the slot goes on."""
    slot, job = lost
    with frozen_at(pool, tmp_path, "fence_before_init", **IMPATIENT) as old:
        again = PlayedSlot(pool, slot.slot)
        again.open()
        order, offset = slot.order_of(again.log)
        with pool.run(SCHEDULER, instance="new") as new:
            wait_for("the new one's state", partial(new.says, "scheduler.assigned"))
            old.go_on()
            assert old.died() in ENDED
            assert old.says("slot.fence_moot")
        assert order.job is not None
        again.complete(Attempt.of(order, order.job, offset, None))
        last = pool.messages(pool.inbox)[-1].offset() or 0
        with pool.run(SCHEDULER, instance="new"):
            wait_for("the end folded", lambda: pool.folded() > last)
        again.log.close()
    assert ways(pool, job) == {"Admitted": 1, "Scheduled": 1, "Completed": 1}
    assert [fact.kind for fact in pool.facts()].count("SlotFenced") == 0
