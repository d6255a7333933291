"""Fold time: it follows the broker's clock, and survives what that clock does."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Cursor
from streams.scheduler.clock import advanced, in_ms, settled, wall
from streams.scheduler.commands import Fence
from tests.unit.scheduler.pool import START, Pool, a_job, job_id, kinds

LEAP = timedelta(seconds=5)
HOUR = 3600
MS = timedelta(milliseconds=1)


def at_start() -> Cursor:
    return Cursor(offset=1, pool_incarnation="p", now=START)


def run(cursor: Cursor, *steps: timedelta) -> Cursor:
    """The cursor after facts whose broker times are so far apart."""
    at = wall(cursor)
    for step in steps:
        at += step
        cursor = advanced(cursor, cursor.offset, at, LEAP)
    return cursor


def test_fold_time_is_the_brokers_while_that_goes_on() -> None:
    cursor = run(at_start(), *[MS * 137] * 50)
    assert cursor.now == wall(cursor) == START + MS * 137 * 50


def test_a_clock_that_went_back_is_waited_for_at_half_its_speed() -> None:
    back = run(at_start(), -timedelta(hours=1))
    assert back.now == START
    later = run(back, *[timedelta(seconds=1)] * 600)
    assert later.now == START + timedelta(seconds=300)
    met = run(back, *[timedelta(seconds=4)] * 1800)
    assert met.now == wall(met) == START + timedelta(hours=1)


@pytest.mark.parametrize("step", [1, 3])
def test_it_does_not_stand_still_when_facts_are_a_millisecond_apart(step: int) -> None:
    cursor = run(run(at_start(), -timedelta(hours=1)), *[MS * step] * 1000)
    assert cursor.now == START + MS * step * 500


def test_a_clock_that_flaps_between_two_brokers_does_not_run_away() -> None:
    cursor = at_start()
    for _ in range(100):
        cursor = run(cursor, timedelta(hours=-2), timedelta(hours=2, seconds=1))
    assert cursor.now - START < timedelta(seconds=100 * (1 + LEAP.total_seconds() / 2))


@given(st.lists(st.integers(-4 * HOUR * 1000, 4 * HOUR * 1000), max_size=40))
def test_it_never_goes_back_and_never_behind_the_broker(steps: list[int]) -> None:
    cursor = at_start()
    for step in steps:
        after = run(cursor, MS * step)
        assert after.now >= max(cursor.now, wall(after))
        assert (after.now - START) % MS == timedelta(0)
        cursor = after


def test_the_first_fact_of_a_pool_is_no_leap() -> None:
    new = Cursor(offset=0, pool_incarnation="p", now=START - timedelta(days=20_000))
    assert settled(run(new, timedelta(days=20_000)))


def test_a_leap_settles_when_the_clock_stays_or_goes_back() -> None:
    leapt = run(at_start(), timedelta(hours=3))
    assert not settled(leapt)
    assert not settled(run(leapt, timedelta(seconds=4)))
    assert not settled(run(leapt, -timedelta(seconds=1)))
    assert settled(run(leapt, timedelta(seconds=4), timedelta(seconds=1)))
    assert settled(run(leapt, -timedelta(hours=3)))


def test_times_are_whole_milliseconds() -> None:
    assert in_ms(datetime.fromisoformat("1970-01-01T00:00:01.5+00:00")) == 1500


# What the fold makes of it


def healthy(pool: Pool, seconds: int) -> list[str]:
    return kinds(pool.wait(seconds, 0, 1))


def pool_at_work() -> Pool:
    pool = Pool()
    pool.open(0)
    pool.open(1)
    pool.admit(a_job(1, expires_at=START + timedelta(days=1)))
    healthy(pool, 5)
    return pool


@pytest.mark.parametrize("jump", [-5 * HOUR, 5 * HOUR])
def test_no_jump_fences_a_slot_that_beats(jump: int) -> None:
    pool = pool_at_work()
    pool.tick(jump)
    said = healthy(pool, 30)
    pool.tick(-jump)
    said += healthy(pool, 30)
    assert "Fence" not in said
    assert pool.state.slots[0].phase == pool.state.slots[1].phase == "open"


def test_a_silent_slot_is_found_out_after_the_clock_went_back() -> None:
    pool = pool_at_work()
    pool.tick(-5 * HOUR)
    fences = [c for c in pool.wait(25, 1) if isinstance(c, Fence)]
    assert {fence.slot for fence in fences} == {0}


def test_a_retry_is_not_put_off_for_hours_because_the_clock_went_back() -> None:
    pool = pool_at_work()
    pool.tick(-5 * HOUR)
    pool.end(0, 1, 1, "failed", "render_crashed")
    pool.free(0, 1)
    assert "Assign->0" in healthy(pool, 5)


def test_a_clock_that_leaps_and_comes_back_expires_nothing() -> None:
    pool = Pool()
    pool.admit(a_job(1, expires_at=START + timedelta(hours=1)))
    pool.tick(1)
    assert kinds(pool.tick(2 * HOUR)) == []
    assert kinds(pool.tick(-2 * HOUR)) == []
    assert kinds(pool.wait(3000)) == []
    assert kinds(pool.wait(600)) == ["Expired"]


def test_a_leap_that_lasts_expires_what_is_due_before_it_could_start() -> None:
    pool = Pool()
    pool.admit(a_job(1, expires_at=START + timedelta(hours=1)))
    pool.tick(1)
    pool.tick(2 * HOUR)
    assert kinds(pool.open(0)) == []
    assert kinds(pool.wait(6, 0)) == ["Expired"]


def test_a_free_slot_does_not_get_a_job_whose_time_is_up() -> None:
    pool = Pool()
    pool.admit(a_job(1, expires_at=START + timedelta(seconds=2)))
    pool.admit(a_job(2))
    pool.now += timedelta(seconds=3)
    assert kinds(pool.open(0)) == ["Expired", "Scheduled", "Assign->0"]


def test_a_leap_of_days_that_is_taken_back_forgets_nobody() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    pool.end(0, 1, 1)
    pool.tick(20 * 86400)
    pool.tick(-20 * 86400)
    pool.wait(30)
    assert job_id(1) in pool.state.ended
    assert kinds(pool.admit(a_job(1))) == []
    assert kinds(pool.admit(a_job(2))) == ["Admitted"]
