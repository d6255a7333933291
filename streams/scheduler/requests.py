"""What owners ask for: jobs, refused ones among them, and cancels."""

from __future__ import annotations

from datetime import timedelta

from schemas.events import refused_event
from schemas.records import CancelRequested, EarlyCancel, Job, JobState, Refusal
from streams.scheduler.commands import Emit, Letter
from streams.scheduler.jobs import Jobs, reason


class Requests:
    """The facts that admission and the edge send."""

    def __init__(self, jobs: Jobs, dedupe_window: timedelta) -> None:
        self._jobs = jobs
        self._state = jobs.state
        self._window = dedupe_window

    def admitted(self, job: Job) -> None:
        """A valid job within its tenant's rate; new, or told again."""
        if self._seen_before(job.job_id, job.tenant_id, job.spec_digest):
            return
        if job.submitted_at < self._state.wall - self._window:
            self._jobs.finish(job, "Refused", reason("too_old"))
            return
        waiting = JobState(
            job=job,
            phase="waiting",
            attempt=1,
            arrival=self._state.cursor.offset - 1,
            failures=0,
            cancel_requested=False,
        )
        self._state.put_job(waiting)
        self._jobs.emit(waiting, "Admitted")
        if self._state.take_early_cancel(job.job_id, job.tenant_id):
            self._jobs.finish(job, "Cancelled", reason("cancelled_by_owner"))
        elif self._state.deadline_passed(job) and self._state.settled:
            self._jobs.finish(job, "Expired", reason("expired"))

    def refused(self, refusal: Refusal) -> None:
        """A request that admission turned down: it ends here, as every job does."""
        if self._seen_before(refusal.job_id, refusal.tenant_id, refusal.spec_digest):
            return
        self._jobs.say(Emit(refused_event(refusal, self._state.now), refusal.traceparent))
        self._jobs.ended(refusal.job_id, refusal.tenant_id, refusal.spec_digest, "Refused")

    def _seen_before(self, job_id: str, tenant_id: str, digest: str) -> bool:
        """A repeat is dropped; the same id with another spec or tenant is a conflict."""
        known = self._state.jobs.get(job_id)
        ended = self._state.ended.get(job_id)
        if known is not None:
            before = (known.job.tenant_id, known.job.spec_digest)
        elif ended is not None:
            before = (ended.tenant_id, ended.spec_digest)
        else:
            return False
        if before != (tenant_id, digest):
            text = "The job id was used before for another request. Use a fresh one."
            self._jobs.say(Letter("job_conflict", "conflict", text, 0, job_id, tenant_id))
        return True

    def cancel_requested(self, cancel: CancelRequested) -> None:
        """A wish: granted at once while the job waits, passed on to the slot while it runs."""
        known = self._state.jobs.get(cancel.job_id)
        if known is None:
            if cancel.job_id not in self._state.ended:
                early = EarlyCancel(
                    job_id=cancel.job_id, tenant_id=cancel.tenant_id, asked_at=self._state.now
                )
                self._state.put_early_cancel(early)
            return
        if known.job.tenant_id != cancel.tenant_id or known.cancel_requested:
            return
        if known.phase == "waiting":
            self._jobs.finish(known.job, "Cancelled", reason("cancelled_by_owner"))
            return
        self._state.put_job(known.model_copy(update={"cancel_requested": True}))
        if known.slot is not None and known.n is not None:
            self._jobs.order(known, known.slot, known.n, "Cancel")
