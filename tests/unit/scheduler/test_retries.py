"""What becomes of jobs whose starts are lost: poison, progress, bounds, history, the budget."""

import pytest

from streams.scheduler.commands import Emit, Fence, Letter
from streams.scheduler.retries import MAX_LOSSES, MAX_OPENINGS
from tests.unit.scheduler.pool import Pool, a_job, job_id, kinds

#: Attempts that a retryable failure may cost: the guard's policy.
LIMIT = 5


def one_job(slots: int = 1) -> Pool:
    pool = Pool()
    for slot in range(slots):
        pool.open(slot)
    pool.admit(a_job(1))
    return pool


def lives_of(pool: Pool) -> tuple[int, str]:
    """Where the job runs, and in which incarnation of the slot."""
    slot = pool.state.jobs[job_id(1)].slot
    assert slot is not None
    return slot, pool.state.slots[slot].incarnation


def fail(pool: Pool, steps: int | None = None, code: str = "render_crashed") -> list[str]:
    """The job's present attempt fails; then time passes until it runs again or has ended."""
    slot, incarnation = lives_of(pool)
    n, attempt = pool.state.slots[slot].last_n, pool.state.jobs[job_id(1)].attempt
    said = pool.end(slot, n, 1, "failed", code, attempt, incarnation, steps=steps)
    said += pool.free(slot, n, incarnation)
    return kinds(said + pool.wait(120, *pool.state.slots))


def letters(pool: Pool) -> list[Letter]:
    return [command for command in pool.said if isinstance(command, Letter)]


def test_failures_without_progress_end_the_job_at_the_limit_of_their_class() -> None:
    pool = one_job()
    for _ in range(LIMIT):
        pool.render(0)
        fail(pool, steps=0)
    assert pool.state.ended[job_id(1)].kind == "Failed"
    assert [entry.attempt for entry in letters(pool)[0].history] == [1, 2, 3, 4, 5]
    assert letters(pool)[0].attempts == LIMIT


def test_a_failure_that_got_further_does_not_count() -> None:
    pool = one_job()
    for steps in range(10, 300, 10):
        pool.render(0, steps - 10)
        fail(pool, steps=steps)
    job = pool.state.jobs[job_id(1)]
    assert (job.failures, job.losses) == (0, 29)
    assert [entry.counted for entry in job.history] == [False] * 20


def test_progress_that_only_beats_told_of_counts_too() -> None:
    pool = one_job()
    pool.render(0, 0)
    pool.render(0, 10)
    fail(pool)
    assert pool.state.jobs[job_id(1)].failures == 0


def test_what_its_predecessor_stored_untold_is_not_a_starts_own_progress() -> None:
    pool = one_job()
    pool.render(0, 10)  # found in the store, and never heard of before
    fail(pool, steps=10)
    assert pool.state.jobs[job_id(1)].failures == 1


def test_storing_again_what_was_stored_before_is_no_progress() -> None:
    pool = one_job()
    pool.render(0, 0)
    fail(pool, steps=10)
    pool.render(0, 0)  # its checkpoint could not be used: from the beginning, and only as far
    fail(pool, steps=10)
    assert pool.state.jobs[job_id(1)].failures == 1


def test_a_failure_of_a_stricter_class_that_got_further_does_not_end_it_either() -> None:
    pool = one_job(2)
    for _ in range(LIMIT - 1):
        pool.render(lives_of(pool)[0], 0)
        fail(pool, steps=0)
    pool.render(lives_of(pool)[0], 0)
    fail(pool, steps=20, code="out_of_memory")
    assert job_id(1) in pool.state.jobs


def test_a_permanent_failure_ends_the_job_however_far_it_got() -> None:
    pool = one_job()
    pool.render(0, 0)
    assert fail(pool, steps=10, code="invalid_spec") == ["Letter", "Failed"]


def test_no_job_loses_more_starts_than_the_bound() -> None:
    pool = one_job()
    for steps in range(1, 200):
        if job_id(1) in pool.state.ended:
            break
        pool.render(0, steps - 1)
        fail(pool, steps=steps)
    assert steps == MAX_LOSSES + 1
    assert letters(pool)[0].code == "attempts_exhausted"
    assert len(letters(pool)[0].history) == 20
    assert letters(pool)[0].history[-1].steps == MAX_LOSSES


def test_hand_overs_count_as_nothing() -> None:
    pool = one_job()
    for n in range(1, 2 * MAX_LOSSES):
        pool.render(0, 0)
        assert kinds(pool.end(0, n, 1, "preempted", attempt=n, steps=0)) == ["Preempted"]
        pool.free(0, n)
    job = pool.state.jobs[job_id(1)]
    assert (job.failures, job.losses) == (0, 0)
    assert {(entry.outcome, entry.code) for entry in job.history} == {("preempted", None)}


def test_a_slot_lost_before_it_launched_the_child_costs_the_job_nothing() -> None:
    pool = one_job()
    pool.wait(11)
    pool.fenced(0, 1)
    assert pool.state.jobs[job_id(1)].failures == 0
    assert pool.state.jobs[job_id(1)].history[0].outcome == "fenced"


@pytest.mark.parametrize(("stored", "failures"), [(0, 1), (10, 0)])
def test_a_slot_lost_at_work_counts_unless_it_had_got_further(stored: int, failures: int) -> None:
    pool = one_job()
    pool.render(0, 0)
    pool.render(0, stored)
    pool.wait(11)
    pool.fenced(0, 1)
    assert pool.state.jobs[job_id(1)].failures == failures


def test_a_job_that_kills_its_consumer_each_time_ends_at_the_limit() -> None:
    """Each start that dies with its process is one, whether the slot comes back or is fenced."""
    pool = one_job(2)
    launches, life = 0, 1
    while job_id(1) in pool.state.jobs:
        slot, _ = lives_of(pool)
        pool.render(slot, 0)
        launches += 1
        life += 1
        said = kinds(pool.open(slot, f"i{life}", done=pool.state.slots[slot].last_n - 1))
        assert not {"Retrying", "Failed"} & set(said), "the slot may still end what it holds"
        if pool.state.slots[slot].phase == "fencing":
            assert any(isinstance(command, Fence) for command in pool.tick())
            pool.fenced(slot, pool.state.slots[slot].last_n, f"i{life}")
            life += 1
            pool.open(slot, f"i{life}", done=pool.state.slots[slot].last_n)
            pool.wait(120, 0, 1)
        assert launches <= 2 * LIMIT
    assert launches == LIMIT
    end = letters(pool)[0]
    assert (end.code, end.error_class) == ("slot_fenced", "retryable")
    assert [entry.outcome for entry in end.history] == ["crashed"] * 2 + ["fenced"] + [
        "crashed"
    ] + ["fenced"]
    assert {entry.slot for entry in end.history} == {0, 1}
    assert all(entry.counted for entry in end.history)
    assert "submit it again" in end.reason.lower()


def test_crashes_between_checkpoints_never_cost_the_job_its_slot() -> None:
    pool = one_job()
    for life in range(2, 30):
        pool.render(0, life * 10)
        pool.render(0, life * 10 + 10)
        assert kinds(pool.open(0, f"i{life}", done=0)) == []
    job = pool.state.jobs[job_id(1)]
    assert (job.failures, job.losses, pool.state.slots[0].phase) == (0, 28, "open")


def test_a_slot_that_never_gets_to_the_launch_loses_the_order_and_it_counts_once() -> None:
    pool = one_job()
    for life in range(2, 2 + MAX_OPENINGS):
        assert pool.state.slots[0].phase == "open"
        pool.open(0, f"i{life}", done=0)
    assert pool.state.slots[0].phase == "fencing"
    pool.fenced(0, 1, f"i{life}")
    job = pool.state.jobs[job_id(1)]
    assert (job.failures, [entry.outcome for entry in job.history]) == (1, ["fenced"])


def test_a_start_that_gets_further_before_its_slot_is_fenced_saves_the_job() -> None:
    pool = one_job()
    for life in range(2, 2 + MAX_OPENINGS):
        pool.render(0, 0)
        pool.open(0, f"i{life}", done=0)
    pool.render(0, 10)
    pool.fenced(0, 1, f"i{life}")
    assert pool.state.jobs[job_id(1)].failures == MAX_OPENINGS - 1


def test_a_late_beat_about_an_earlier_assignment_says_nothing_about_this_one() -> None:
    pool = one_job()
    pool.render(0, 0)
    fail(pool, steps=0)
    assert pool.state.jobs[job_id(1)].n == 2
    pool.render(0, 0, n=1)
    assert pool.state.jobs[job_id(1)].begun_at is None


def test_a_lost_start_is_told_with_its_slot_code_and_progress() -> None:
    pool = one_job()
    pool.render(0, 3)
    fail(pool, steps=7)
    (entry,) = pool.state.jobs[job_id(1)].history
    assert (entry.attempt, entry.slot, entry.outcome) == (1, 0, "failed")
    assert (entry.code, entry.message, entry.steps) == ("render_crashed", "m", 7)


def test_the_end_of_a_poison_job_says_what_its_owner_can_do() -> None:
    pool = one_job()
    for _ in range(LIMIT):
        fail(pool)
    (failed,) = [c.event for c in pool.said if isinstance(c, Emit) and c.event.kind == "Failed"]
    assert failed.reason is not None
    assert failed.reason.code == "render_crashed"
    assert "It is tried again" not in failed.reason.message


# The budget


def failing_pool(slots: int, jobs: int) -> Pool:
    """Every job fails once, as fast as the slots go."""
    pool = Pool()
    for slot in range(slots):
        pool.open(slot)
    for number in range(jobs):
        pool.admit(a_job(number))
        where = pool.state.jobs[job_id(number)].slot
        assert where is not None
        pool.end(where, pool.state.slots[where].last_n, number, "failed", "render_crashed")
        pool.free(where, pool.state.slots[where].last_n)
    return pool


def waits(pool: Pool) -> list[float]:
    """Seconds that each job waits for its retry, in the order of the jobs."""
    jobs = [pool.state.jobs[job_id(number)] for number in range(len(pool.state.jobs))]
    return [(job.not_before - pool.now).total_seconds() for job in jobs if job.not_before]


def test_a_burst_of_failures_is_retried_at_once_and_the_rest_at_the_pools_rate() -> None:
    pool = failing_pool(slots=1, jobs=16)
    delays = waits(pool)
    assert max(delays[:10]) <= 0.5
    assert [round(delay) for delay in delays[10:]] == [10, 20, 30, 40, 50, 60]


def test_a_larger_pool_has_a_larger_budget() -> None:
    delays = waits(failing_pool(slots=5, jobs=24))
    assert max(delays[:20]) <= 0.5
    assert [round(delay) for delay in delays[20:]] == [2, 4, 6, 8]


def test_lost_slots_and_hand_overs_take_nothing_from_the_budget() -> None:
    pool = Pool()
    for number in range(30):
        pool.open(number)
        pool.admit(a_job(number))
    for number in range(30):
        if number % 2:
            pool.end(number, 1, number, "preempted")
        else:
            pool.open(number, "i2", done=1)
    assert pool.state.cursor.retry_tat_ms == 0
