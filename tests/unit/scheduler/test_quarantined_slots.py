"""A slot without credit is there, and works for nobody."""

from schemas.records import PoolOutlook
from streams.scheduler.commands import Fence, Publish
from tests.unit.scheduler.pool import Pool, a_job, job_id, kinds


def with_one_shut() -> Pool:
    """Slots 0 and 1; slot 0 has failed job 1 and takes no more."""
    pool = Pool()
    pool.open(0)
    pool.open(1)
    pool.admit(a_job(1))
    pool.end(0, 1, 1, "failed", "render_crashed")
    pool.free(0, 1, more=False)
    return pool


def test_a_quarantined_slot_gets_no_work_and_its_job_goes_elsewhere() -> None:
    pool = with_one_shut()
    assert "Assign->1" in kinds(pool.wait(2, 0, 1))
    pool.admit(a_job(2))
    assert kinds(pool.wait(60, 0, 1)) == []
    assert pool.state.jobs[job_id(2)].phase == "waiting"


def test_it_is_not_fenced_while_it_beats() -> None:
    assert not [c for c in with_one_shut().wait(60, 0, 1) if isinstance(c, Fence)]


def test_it_takes_work_again_once_it_says_so() -> None:
    pool = with_one_shut()
    pool.wait(2, 0, 1)
    pool.admit(a_job(2))
    assert kinds(pool.free(0, 1)) == ["Scheduled", "Assign->0"]


def test_a_job_may_return_where_it_failed_when_every_other_slot_is_quarantined() -> None:
    pool = Pool()
    pool.open(0)
    pool.open(1)
    pool.admit(a_job(1))
    pool.admit(a_job(2))
    pool.end(1, 1, 2, "failed", "render_crashed")
    pool.free(1, 1, more=False)
    pool.cancel(2)
    pool.end(0, 1, 1, "failed", "out_of_memory")  # another slot would be better
    pool.free(0, 1)
    assert "Assign->0" in kinds(pool.wait(2, 0, 1))


def test_it_does_not_count_among_the_slots_of_the_pool() -> None:
    pool = with_one_shut()
    pool.tick()
    told: list[PoolOutlook] = [c.outlook for c in pool.said if isinstance(c, Publish)]
    assert told[-1].slots == 1
