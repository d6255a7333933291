"""A fence moves a slot past the work that it knows of, and past nothing else."""

import pytest

from gpu_consumer.slot_log import SlotLog
from streams.scheduler.commands import Fence
from streams.scheduler.fencing import AssignmentNotFoundError, fence
from tests.integration.scheduler.pool_bus import PoolBus, a_job

SLOT = 1


def opened(pool: PoolBus) -> None:
    log = SlotLog(pool.of_slot(SLOT), "i1")
    log.take()
    log.commit([])
    log.close()


def fence_through(pool: PoolBus, n: int) -> tuple[int, int, str]:
    """Fence, and say the slot's offset, its last number and who holds it."""
    fence(pool.settings, pool.codec, Fence(SLOT, "i1", n))
    place = pool.place(SLOT)
    assert place is not None
    return place[0], place[1].n, place[1].holder


def test_a_fence_moves_past_the_assignment_it_knows_and_not_past_a_later_one(
    pool: PoolBus,
) -> None:
    opened(pool)
    pool.put(*(pool.an_assign(SLOT, n, a_job()) for n in (1, 2)))
    assert fence_through(pool, 1) == (1, 1, "fenced")
    assert fence_through(pool, 1) == (1, 1, "fenced"), "repeating it is harmless"
    assert fence_through(pool, 2) == (2, 2, "fenced")
    assert fence_through(pool, 1) == (2, 2, "fenced"), "a late one takes nothing back"


def test_a_slot_without_work_is_fenced_where_it_stands(pool: PoolBus) -> None:
    opened(pool)
    assert fence_through(pool, 0) == (0, 0, "fenced")


def test_a_fence_that_cannot_find_its_assignment_moves_nothing(pool: PoolBus) -> None:
    opened(pool)
    before = pool.place(SLOT)
    with pytest.raises(AssignmentNotFoundError):
        fence(pool.settings, pool.codec, Fence(SLOT, "i1", 1))
    assert pool.place(SLOT) == before
    assert pool.facts() == []
