"""When a slot is suspect, and what it has to show before it takes work again."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_consumer.quarantine import BLAMES_SLOT, Conduct
from schemas.reasons import REASONS


def after(*ends: tuple[str, str, str | None, bool], limit: int = 3) -> bool:
    """Whether a slot is suspect after (job, outcome, code, got_further), in this order."""
    conduct = Conduct(limit)
    for job, outcome, code, got_further in ends:
        conduct.ended(job, outcome, code, got_further=got_further)
    return conduct.suspect


def failed(*jobs: str, code: str = "render_crashed") -> Iterable[tuple[str, str, str | None, bool]]:
    return [(job, "failed", code, False) for job in jobs]


def test_three_different_jobs_in_a_row_are_too_many() -> None:
    assert not after(*failed("a", "b"))
    assert after(*failed("a", "b", "c"))


def test_one_poison_job_says_nothing_about_the_slot() -> None:
    assert not after(*failed("a", "a", "a", "a"))


def test_a_job_that_is_done_speaks_for_the_slot() -> None:
    assert not after(*failed("a", "b"), ("c", "completed", None, False), *failed("d", "e"))


def test_a_job_that_got_further_speaks_for_the_slot() -> None:
    assert not after(*failed("a", "b"), ("c", "failed", "render_crashed", True), *failed("d"))


@pytest.mark.parametrize("outcome", ["cancelled", "preempted", "duplicate"])
def test_ends_that_are_nobodys_fault_change_nothing(outcome: str) -> None:
    assert not after(*failed("a", "b"), ("c", outcome, None, False))
    assert after(*failed("a", "b"), ("c", outcome, None, False), *failed("d"))


@pytest.mark.parametrize("code", ["invalid_spec", "store_unavailable", "claim_conflict"])
def test_failures_that_are_not_the_slots_do_not_count(code: str) -> None:
    assert not after(*failed("a", "b", "c", "d", code=code))


def test_the_codes_that_blame_a_slot_are_ones_of_the_catalogue() -> None:
    assert REASONS.keys() >= BLAMES_SLOT


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"),
            st.sampled_from(["completed", "failed", "cancelled", "preempted"]),
            st.sampled_from([None, "render_crashed", "invalid_spec", "out_of_memory"]),
            st.booleans(),
        )
    ),
    st.integers(1, 4),
)
def test_a_suspect_slot_has_failed_enough_jobs_since_its_last_success(
    ends: list[tuple[str, str, str | None, bool]], limit: int
) -> None:
    since: set[str] = set()
    for job, outcome, code, got_further in ends:
        if outcome == "completed" or got_further:
            since.clear()
        elif outcome == "failed" and code in BLAMES_SLOT:
            since.add(job)
    assert after(*ends, limit=limit) == (len(since) >= limit)
