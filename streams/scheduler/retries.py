"""What becomes of a job whose start did not end it: tried again, within bounds, or given up.

A start counts towards the limit of its failure's class if it stored nothing new: from its child's
launch on, or for a failure that its slot reports, from its order on. One that got further does not
count, so a long job may be hit often and still arrive; hand-overs count as nothing. What the
limits miss, :data:`MAX_LOSSES` ends. All failures of a pool draw retries from one budget.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import rust_guard
from schemas.reasons import last_words
from schemas.records import JobState, PastAttempt, Reason
from streams.scheduler.clock import in_ms
from streams.scheduler.commands import Letter
from streams.scheduler.jobs import Jobs, reason
from streams.scheduler.state import State

#: Openings of a slot with the same order in hand and no progress, after which it loses the order.
MAX_OPENINGS: Final = 3
#: Starts that a job may lose, whatever their reason and whatever progress they made.
MAX_LOSSES: Final = 50
#: Starts that a job's history keeps.
_KEPT: Final = 20
#: The budget's burst: so many retries in any case, and so many for each slot that works.
_BURST: Final = 10
_BURST_OF_SLOT: Final = 4
_LOST: Final = "slot_fenced"


def got_further(job: JobState) -> bool:
    """Whether the start under way has stored denoising steps that nobody had stored before."""
    return job.begun_at is not None and job.steps > job.begun_at


def fruitless(job: JobState) -> bool:
    """Whether the start under way has launched its child and stored nothing new."""
    return job.begun_at is not None and not got_further(job)


def reserved(state: State, earn: timedelta) -> tuple[int, timedelta]:
    """What the pool's retry budget says to one more retry.

    Each slot that works earns the pool a retry every ``earn``; some may come at once.

    Returns:
        The budget's next ``retry_tat_ms``, and how long the retry has to wait.
    """
    slots = len(state.working())
    tat, delay = rust_guard.retry_budget(
        state.cursor.retry_tat_ms,
        in_ms(state.now),
        interval_ms=int(earn.total_seconds() * 1000) // max(1, slots),
        burst=max(_BURST, _BURST_OF_SLOT * slots),
    )
    return tat, timedelta(milliseconds=delay)


class Retries:
    """Judges starts that were lost."""

    def __init__(self, jobs: Jobs, earn: timedelta) -> None:
        self._jobs = jobs
        self._state = jobs.state
        self._earn = earn

    def failed(self, job: JobState, why: Reason) -> None:
        """Its slot says that the attempt failed."""
        noted = self._noted(job, "failed", why, counted=not got_further(job))
        self._judge(noted, why, counted=not got_further(job), silent=False)

    def lost(self, job: JobState, outcome: str, *, counted: bool) -> None:
        """The attempt is over without a word of its slot, or was never the slot's to make."""
        why = reason(_LOST)
        noted = self._noted(job, outcome, why, counted=counted)
        self._judge(noted, why, counted=counted, silent=True)

    def handed_over(self, job: JobState, why: Reason | None) -> None:
        """Its slot gives it back unharmed."""
        noted = self._noted(job, "preempted", why, counted=False)
        self._jobs.requeue(noted, "Preempted", why)

    def crashed(self, job: JobState, openings: int) -> bool:
        """Its slot's process died with the job in hand, and is back to start it again.

        Returns:
            Whether the slot must lose the order instead. What it did to it is judged only once the
            order is back: until then the slot may still end the job.
        """
        if job.begun_at is None:
            return openings >= MAX_OPENINGS
        noted = self._noted(job, "crashed", reason(_LOST), counted=fruitless(job))
        hopeless = noted.losses >= MAX_LOSSES or openings >= MAX_OPENINGS
        if fruitless(job) and not hopeless:
            decision = rust_guard.retry(_LOST, noted.failures, job.job.job_id)
            hopeless = decision.action == "fail"
        if not hopeless:
            self._state.put_job(noted)
        return hopeless

    def _noted(self, job: JobState, outcome: str, why: Reason | None, *, counted: bool) -> JobState:
        entry = PastAttempt(
            attempt=job.attempt,
            slot=job.slot,
            outcome=outcome,
            code=why.code if why else None,
            message=why.message if why else None,
            at=self._state.now,
            steps=job.steps,
            counted=counted,
        )
        update = {
            "history": (*job.history, entry)[-_KEPT:],
            "failures": job.failures + counted,
            "losses": job.losses + (outcome != "preempted"),
            "begun_at": None,
        }
        return job.model_copy(update=update)

    def _judge(self, job: JobState, why: Reason, *, counted: bool, silent: bool) -> None:
        """``silent``: it was lost with its slot, which takes longer than any storm of retries."""
        if job.cancel_requested:
            self._jobs.finish(job.job, "Cancelled", reason("cancelled_by_owner"))
            return
        decision = rust_guard.retry(why.code, job.failures if counted else 1, job.job.job_id)
        if decision.action != "retry":
            self._give_up(job, why)
            return
        if job.losses >= MAX_LOSSES:
            self._give_up(job, reason("attempts_exhausted"))
            return
        delay = timedelta(milliseconds=decision.delay_ms)
        if not silent:
            tat, wait = reserved(self._state, self._earn)
            self._state.spend_retry(tat)
            delay = max(delay, wait)
        elsewhere = decision.elsewhere or (silent and counted)
        update = {
            "not_before": self._state.now + delay,
            "avoid_slot": job.slot if elsewhere else None,
        }
        self._jobs.requeue(job.model_copy(update=update), "Retrying", why)

    def _give_up(self, job: JobState, why: Reason) -> None:
        end = Reason(code=why.code, message=last_words(why.code))
        self._jobs.say(
            Letter(
                why.code,
                rust_guard.classify(why.code).value,
                end.message,
                job.attempt,
                job.job.job_id,
                job.job.tenant_id,
                job.job,
                job.arrival,
                job.history,
            )
        )
        self._jobs.finish(job.job, "Failed", end, attempt=job.attempt)
