"""What may happen to a job in the scheduler's hands: the state each step leaves, what it says."""

from __future__ import annotations

from schemas.events import job_event
from schemas.reasons import REASONS
from schemas.records import Assignment, EndedJob, Job, JobState, Reason, SlotState
from streams.scheduler.commands import Command, Emit, Send
from streams.scheduler.state import State


def reason(code: str, message: str | None = None) -> Reason:
    """A reason of the catalogue, with its remedy unless a message is given."""
    return Reason(code=code, message=message or f"{REASONS[code].title}. {REASONS[code].remedy}")


class Jobs:
    """The steps of a job's way, and the commands that one step of the fold adds up to.

    Attributes:
        state: Changed in place.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._said: list[Command] = []

    def say(self, *commands: Command) -> None:
        """Ask the shell for something."""
        self._said.extend(commands)

    def taken(self) -> list[Command]:
        """What was asked for since the last call, in order."""
        said, self._said = self._said, []
        return said

    def emit(self, job: JobState, kind: str, why: Reason | None = None) -> None:
        """Tell what happened to a job that goes on."""
        event = job_event(kind, job.job, self.state.now, job.attempt, slot=job.slot, reason=why)
        self.say(Emit(event, job.job.traceparent))

    def assign(self, slot: SlotState, job: JobState) -> None:
        """Hand a waiting job to a slot that has credit for it."""
        number = slot.last_n + 1
        update = {"phase": "running", "slot": slot.slot, "n": number, "not_before": None}
        running = job.model_copy(update=update)
        self.state.put_job(running)
        taken = {"last_n": number, "job_id": job.job.job_id, "openings": 0}
        self.state.put_slot(slot.model_copy(update=taken))
        self.emit(running, "Scheduled")
        self.order(running, slot.slot, number, "Assign")

    def order(self, job: JobState, slot: int, number: int, kind: str) -> None:
        """Send an order about assignment ``number`` to a slot."""
        order = Assignment(
            kind=kind,
            n=number,
            job_id=job.job.job_id,
            attempt=job.attempt,
            pool_incarnation=self.state.cursor.pool_incarnation,
            job=job.job if kind == "Assign" else None,
        )
        self.say(Send(slot, order, job.job.traceparent))

    def requeue(self, job: JobState, kind: str, why: Reason | None) -> None:
        """A job that came back without an end waits for its next attempt."""
        if job.cancel_requested:
            self.finish(job.job, "Cancelled", reason("cancelled_by_owner"))
            return
        update = {"phase": "waiting", "attempt": job.attempt + 1, "slot": None, "n": None}
        waiting = job.model_copy(update=update)
        self.state.put_job(waiting)
        self.emit(waiting, kind, why)

    def finish(self, job: Job, kind: str, why: Reason, attempt: int | None = None) -> None:
        """End a job that the scheduler owns, with its terminal event."""
        known = self.state.jobs.get(job.job_id)
        made = attempt if attempt is not None else (known.attempt - 1 if known else 0)
        event = job_event(kind, job, self.state.now, made, reason=why)
        self.say(Emit(event, job.traceparent))
        self.ended(job.job_id, job.tenant_id, job.spec_digest, kind)

    def ended(self, job_id: str, tenant_id: str, digest: str, kind: str) -> None:
        """Remember an end whose event is written, here or by a slot."""
        self.state.end_job(
            EndedJob(
                job_id=job_id,
                tenant_id=tenant_id,
                spec_digest=digest,
                kind=kind,
                ended_at=self.state.now,
            )
        )
