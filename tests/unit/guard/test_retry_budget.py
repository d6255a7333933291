"""The pool's budget of retries as the fold calls it."""

from __future__ import annotations

import pytest

from rust_guard import retry_budget


def begins(asked: list[int], **policy: int) -> list[int]:
    tat, begun = 0, []
    for now in asked:
        tat, delay = retry_budget(tat, now, **policy)
        begun.append(now + delay)
    return begun


def test_a_storm_is_spread_and_none_of_it_is_dropped() -> None:
    assert begins([5_000] * 6, interval_ms=100, burst=3) == [5_000] * 3 + [5_100, 5_200, 5_300]


def test_the_default_is_thirty_at_once_and_one_a_second() -> None:
    begun = begins([0] * 40)
    assert begun[:30] == [0] * 30
    assert begun[30:] == list(range(1_000, 11_000, 1_000))


def test_the_policy_is_named_and_never_mistaken() -> None:
    with pytest.raises(TypeError):
        retry_budget(0, 0, 100, 3)  # type: ignore[call-arg]


@pytest.mark.parametrize("wrong", [-1, 2**64])
def test_a_time_that_is_none_is_refused(wrong: int) -> None:
    for arguments in [(wrong, 0), (0, wrong)]:
        with pytest.raises(OverflowError):
            retry_budget(*arguments)
