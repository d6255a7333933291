"""The retry policy as the fold calls it."""

from __future__ import annotations

import uuid

import pytest

from rust_guard import FAILURE_CODES, FailureClass, RetryDecision, RetryPolicy, retry

JOB = "7f2c1f0e-6a0b-4c55-9d0e-2f3f6b1c9a10"
MASK = 2**64 - 1


def drawn(job_id: str, attempt: int) -> int:
    """The documented draw, written a second time: splitmix64 over FNV-1a 64."""
    seed = 0xCBF29CE484222325
    for byte in job_id.encode():
        seed = (seed ^ byte) * 0x100000001B3 & MASK
    z = seed + attempt * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
def test_the_delay_is_the_documented_draw(attempt: int) -> None:
    job = str(uuid.uuid4())
    ceiling = min(60_000, 500 * 2 ** (attempt - 1))
    expected = drawn(job, attempt) * (ceiling + 1) >> 64
    decision = retry("render_crashed", attempt, job)
    assert (decision.action, decision.delay_ms) == ("retry", expected), job


def test_the_same_question_has_the_same_answer() -> None:
    assert retry("unknown", 2, JOB) == retry("unknown", 2, JOB)
    assert len({retry("unknown", 4, str(uuid.uuid4())).delay_ms for _ in range(50)}) > 10


def test_limits_are_of_the_class() -> None:
    assert [retry("render_crashed", n, JOB).action for n in range(1, 7)] == ["retry"] * 4 + [
        "fail"
    ] * 2
    assert [retry("out_of_memory", n, JOB).action for n in range(1, 4)] == ["retry"] * 2 + ["fail"]


def test_out_of_memory_goes_elsewhere_and_a_crash_may_come_back() -> None:
    assert retry("out_of_memory", 1, JOB).elsewhere
    assert not retry("render_crashed", 1, JOB).elsewhere


@pytest.mark.parametrize(
    "code",
    [c for c, k in FAILURE_CODES.items() if k in {FailureClass.PERMANENT, FailureClass.CONFLICT}],
)
def test_what_cannot_work_ends_at_once(code: str) -> None:
    decision = retry(code, 1, JOB)
    assert (decision.action, decision.delay_ms, decision.elsewhere) == ("fail", 0, False)


def test_a_policy_bounds_delays_and_attempts() -> None:
    policy = RetryPolicy(base_ms=10, cap_ms=20, retryable=100, elsewhere=1)
    delays = [retry("unknown", n, JOB, policy).delay_ms for n in range(1, 100)]
    assert max(delays) <= 20
    assert retry("unknown", 100, JOB, policy).action == "fail"
    assert retry("out_of_memory", 1, JOB, policy).action == "fail"


def test_extreme_policies_do_not_overflow() -> None:
    policy = RetryPolicy(base_ms=2**64 - 1, cap_ms=2**64 - 1, retryable=2**32 - 1)
    decision: RetryDecision = retry("unknown", 2**32 - 2, JOB, policy)
    assert 0 <= decision.delay_ms < 2**64
    assert retry("unknown", 1, "", RetryPolicy(base_ms=0)).delay_ms == 0


def test_default_policy_is_the_documented_one() -> None:
    assert RetryPolicy() == RetryPolicy(base_ms=500, cap_ms=60_000, retryable=5, elsewhere=3)
