"""Steps that were computed twice are counted, and no others."""

from schemas.records import JobProgress
from tests.chaos.steps import count


def said(step: int, attempt: int = 1, slot: int = 0, job_id: str = "a") -> JobProgress:
    return JobProgress(
        job_id=job_id,
        tenant_id="t",
        attempt=attempt,
        slot=slot,
        phase="denoising",
        step=step,
        total=10,
        gpu_utilisation=None,
        eta_s=None,
    )


def test_a_start_without_a_break_repeats_nothing() -> None:
    steps = count(said(step) for step in range(11))
    assert (steps.computed, steps.repeated, steps.starts) == (10, 0, [])


def test_a_later_attempt_repeats_what_lies_beyond_its_checkpoint() -> None:
    first = [said(step) for step in range(8)]
    second = [said(step, attempt=2, slot=1) for step in range(5, 11)]
    steps = count([*first, *second])
    assert (steps.computed, steps.repeated) == (12, 2)
    assert [(start.attempt, start.slot, start.resumed_from) for start in steps.starts] == [
        (2, 1, 5)
    ]


def test_the_same_attempt_begun_again_is_another_start() -> None:
    steps = count([*(said(step) for step in range(8)), *(said(step) for step in range(11))])
    assert (steps.repeated, len(steps.starts)) == (7, 1)


def test_jobs_are_apart() -> None:
    steps = count([said(5), said(3, job_id="b"), said(6), said(4, job_id="b")])
    assert (steps.computed, steps.repeated, steps.starts) == (2, 0, [])
