"""When a checkpoint is worth its cost."""

from __future__ import annotations

import math

import pytest

from gpu_consumer.render.cadence import FIRST_GUESS, NEWEST, SHARE, Cadence, interval

HOUR = 3600.0


def test_the_interval_is_youngs_where_writing_is_cheap() -> None:
    assert interval(0.02, 6 * HOUR) == pytest.approx(math.sqrt(2 * 0.02 * 6 * HOUR))


@pytest.mark.parametrize("write_seconds", [1e-4, 0.01, 0.3, 5.0, 120.0])
@pytest.mark.parametrize("mtbf", [1.0, 60.0, HOUR, 24 * HOUR])
def test_no_more_than_its_share_of_the_time_goes_into_writing(
    write_seconds: float, mtbf: float
) -> None:
    assert write_seconds / interval(write_seconds, mtbf) <= SHARE * (1 + 1e-9)


def test_more_failures_mean_more_checkpoints_and_dearer_ones_mean_fewer() -> None:
    assert interval(0.1, HOUR) < interval(0.1, 24 * HOUR)
    assert interval(0.1, HOUR) < interval(0.2, HOUR)


def test_the_interval_loses_less_than_others_do() -> None:
    # The time lost a second: writing, and on a failure half an interval done again.
    write_seconds, mtbf = 0.5, 50 * 24 * HOUR
    best = interval(write_seconds, mtbf)
    assert best > write_seconds / SHARE

    def lost(seconds: float) -> float:
        return write_seconds / seconds + seconds / 2 / mtbf

    assert all(lost(best) < lost(best * factor) for factor in (0.5, 0.9, 1.1, 2.0))


def test_steps_are_counted_from_the_last_checkpoint_or_the_resume() -> None:
    cadence = Cadence(every_steps=3, mtbf=HOUR, step=4, now=0.0)
    assert [step for step in range(5, 9) if cadence.due(step, 0.0)] == [7, 8]
    cadence.taken(8, 0.0)  # the write of 7 was put off
    assert [step for step in range(9, 13) if cadence.due(step, 1e9)] == [11, 12]


def test_every_step_is_written_when_asked_for_and_none_twice() -> None:
    cadence = Cadence(every_steps=1, mtbf=HOUR, step=0, now=0.0)
    assert cadence.due(1, 0.0)
    cadence.taken(1, 0.0)
    assert not cadence.due(1, 1e9)
    assert cadence.due(2, 0.0)


def test_time_decides_where_no_steps_are_given() -> None:
    cadence = Cadence(every_steps=None, mtbf=6 * HOUR, step=0, now=100.0)
    first = interval(FIRST_GUESS, 6 * HOUR)
    assert not cadence.due(60, 100.0 + first - 0.1)
    assert cadence.due(61, 100.0 + first)
    cadence.taken(61, 200.0)
    assert not cadence.due(62, 200.0 + first - 0.1)


def test_slow_steps_get_a_checkpoint_each_and_quick_jobs_none() -> None:
    slow = Cadence(every_steps=None, mtbf=HOUR, step=0, now=0.0)
    quick = Cadence(every_steps=None, mtbf=HOUR, step=0, now=0.0)
    for step in range(1, 65):
        assert slow.due(step, 60.0 * step)
        slow.taken(step, 60.0 * step)
        assert not quick.due(step, 0.1 * step)


def test_what_writes_take_is_learnt() -> None:
    cadence = Cadence(every_steps=None, mtbf=6 * HOUR, step=0, now=0.0)
    at = interval(FIRST_GUESS, 6 * HOUR)
    assert cadence.due(1, at)
    cadence.wrote(FIRST_GUESS + 10.0)
    assert cadence.write_seconds == pytest.approx(FIRST_GUESS + 10.0 * NEWEST)
    assert not cadence.due(1, at)
    for _ in range(100):
        cadence.wrote(0.01)
    assert cadence.write_seconds == pytest.approx(0.01)
    assert cadence.due(1, at)
