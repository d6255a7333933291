"""The decisions of the scheduler: one deterministic step over (state, fact).

No I/O, no clock, no randomness: time comes with the facts, retry delays from the guard's seeded
policy. After an abort the state is restored from its topic, never patched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import rust_guard
from infra.settings import Settings
from schemas.events import job_event, refused_event
from schemas.reasons import REASONS
from schemas.records import (
    Assignment,
    AttemptEnded,
    CancelRequested,
    EarlyCancel,
    EndedJob,
    Job,
    JobState,
    PoolFact,
    PoolOutlook,
    Reason,
    Refusal,
    SlotBeat,
    SlotFenced,
    SlotFree,
    SlotOpened,
    SlotState,
    TenantChanged,
)
from streams.scheduler.commands import Command, Emit, Fence, Letter, Publish, Send
from streams.scheduler.state import State

#: A slot whose last assignment number is not known yet; its first SlotFree tells.
UNKNOWN_N: Final = -1
#: Openings of a slot with the same order in hand, after which the order is taken back.
MAX_OPENINGS: Final = 5


class UnknownFactError(Exception):
    """A fact of a kind this version does not know: upgrade the scheduler before its writers."""


@dataclass(frozen=True, slots=True)
class FoldSettings:
    """What the fold is parametrised with."""

    pool: str
    beat_timeout: timedelta
    dedupe_window: timedelta

    @classmethod
    def of(cls, settings: Settings) -> FoldSettings:
        """The fold's part of the process's settings."""
        return cls(
            settings.pool,
            timedelta(seconds=settings.beat_timeout),
            timedelta(seconds=settings.dedupe_window),
        )


def reason(code: str, message: str | None = None) -> Reason:
    """A reason of the catalogue, with its remedy unless a message is given."""
    return Reason(code=code, message=message or f"{REASONS[code].title}. {REASONS[code].remedy}")


class Fold:
    """One pool's scheduler core.

    Attributes:
        state: Changed in place by :meth:`step`.
    """

    def __init__(self, state: State, settings: FoldSettings) -> None:
        self.state = state
        self._settings = settings
        self._commands: list[Command] = []
        self._outlook: PoolOutlook | None = None
        self._handlers: dict[str, Callable[[Any], None]] = {
            "admitted": self._admitted,
            "refused": self._refused,
            "cancel_requested": self._cancel_requested,
            "tenant_changed": self._tenant_changed,
            "slot_opened": self._slot_opened,
            "slot_free": self._slot_free,
            "slot_beat": self._slot_beat,
            "attempt_ended": self._attempt_ended,
            "slot_fenced": self._slot_fenced,
        }

    def step(self, fact: PoolFact, offset: int, at: datetime) -> list[Command]:
        """Fold one fact and return what must happen because of it, in order.

        Args:
            fact: The fact.
            offset: Its inbox offset.
            at: Its broker time.

        Raises:
            UnknownFactError: nothing has been changed.
        """
        handler, payload = self._handler_of(fact)
        self._commands = []
        self._allow_for_silence(at)
        self.state.advance(offset, at)
        handler(payload)
        self._dispatch()
        return self._commands

    def overdue_fences(self) -> list[Fence]:
        """Fences that were decided and not seen done: the shell repeats them after a restore."""
        return [
            Fence(slot.slot, slot.incarnation, slot.last_n)
            for slot in self.state.slots.values()
            if slot.phase == "fencing"
        ]

    def _handler_of(self, fact: PoolFact) -> tuple[Callable[[Any], None], Any]:
        if fact.kind == "Tick":
            return self._tick, None
        for name, handler in self._handlers.items():
            payload = getattr(fact, name)
            if payload is not None and fact.kind == _kind_of(name):
                return handler, payload
        raise UnknownFactError(f"kind {fact.kind[:40]!r}")

    def _allow_for_silence(self, at: datetime) -> None:
        """When the log itself stood still, no slot could be heard: nobody is blamed for that."""
        silence = at - self.state.now
        if silence > self._settings.beat_timeout / 2 and self.state.cursor.offset > 0:
            for slot in list(self.state.slots.values()):
                heard = min(slot.last_beat + silence, at)
                self.state.put_slot(slot.model_copy(update={"last_beat": heard}))

    # Requests

    def _admitted(self, job: Job) -> None:
        if self._seen_before(job.job_id, job.tenant_id, job.spec_digest):
            return
        now = self.state.now
        if job.submitted_at < now - self._settings.dedupe_window:
            self._finish(job, "Refused", reason("too_old"))
            return
        waiting = JobState(
            job=job,
            phase="waiting",
            attempt=1,
            arrival=self.state.cursor.offset - 1,
            failures=0,
            cancel_requested=False,
        )
        self.state.put_job(waiting)
        self._emit(waiting, "Admitted")
        if self.state.take_early_cancel(job.job_id, job.tenant_id):
            self._finish(job, "Cancelled", reason("cancelled_by_owner"))
            return
        if job.expires_at is not None and job.expires_at <= now:
            self._finish(job, "Expired", reason("expired"))

    def _refused(self, refusal: Refusal) -> None:
        if self._seen_before(refusal.job_id, refusal.tenant_id, refusal.spec_digest):
            return
        event = refused_event(refusal, self.state.now)
        self._commands.append(Emit(event, refusal.traceparent))
        self._end(refusal.job_id, refusal.tenant_id, refusal.spec_digest, "Refused")

    def _seen_before(self, job_id: str, tenant_id: str, digest: str) -> bool:
        """A repeat is dropped; the same id with another spec or tenant is a conflict."""
        known = self.state.jobs.get(job_id)
        ended = self.state.ended.get(job_id)
        if known is not None:
            before = (known.job.tenant_id, known.job.spec_digest)
        elif ended is not None:
            before = (ended.tenant_id, ended.spec_digest)
        else:
            return False
        if before != (tenant_id, digest):
            text = "The job id was used before for another request. Use a fresh one."
            self._commands.append(Letter("job_conflict", "conflict", text, 0, job_id, tenant_id))
        return True

    def _cancel_requested(self, cancel: CancelRequested) -> None:
        known = self.state.jobs.get(cancel.job_id)
        if known is None:
            if cancel.job_id not in self.state.ended:
                early = EarlyCancel(
                    job_id=cancel.job_id, tenant_id=cancel.tenant_id, asked_at=self.state.now
                )
                self.state.put_early_cancel(early)
            return
        if known.job.tenant_id != cancel.tenant_id or known.cancel_requested:
            return
        if known.phase == "waiting":
            self._finish(known.job, "Cancelled", reason("cancelled_by_owner"))
            return
        self.state.put_job(known.model_copy(update={"cancel_requested": True}))
        if known.slot is not None and known.n is not None:
            self._send(known, known.slot, known.n, "Cancel")

    def _tenant_changed(self, change: TenantChanged) -> None:
        self.state.put_tenant(change.tenant)

    # Slots

    def _slot_opened(self, opened: SlotOpened) -> None:
        """Whoever held the slot is fenced by the opening itself.

        A slot that opens again and again with the same order in hand is not coming through with
        it: the slot is fenced to take the order back.
        """
        known = self.state.slots.get(opened.slot) or SlotState(
            slot=opened.slot,
            incarnation=opened.incarnation,
            phase="open",
            last_n=UNKNOWN_N,
            accept_through=UNKNOWN_N,
            last_beat=self.state.now,
            openings=0,
        )
        openings = 0 if known.job_id is None else known.openings + 1
        update = {
            "incarnation": opened.incarnation,
            "last_beat": self.state.now,
            "phase": "open" if openings < MAX_OPENINGS else "fencing",
            "openings": openings,
        }
        self.state.put_slot(known.model_copy(update=update))

    def _slot_free(self, free: SlotFree) -> None:
        slot = self._alive(free.slot, free.incarnation)
        if slot is None:
            return
        if slot.last_n == UNKNOWN_N:
            slot = slot.model_copy(update={"last_n": free.done_through})
        if free.done_through != slot.last_n:
            return
        lost = self.state.jobs.get(slot.job_id) if slot.job_id is not None else None
        update = {
            "accept_through": free.accept_through,
            "last_beat": self.state.now,
            "job_id": None,
        }
        self.state.put_slot(slot.model_copy(update=update))
        if lost is not None:  # done without an end that the fold took: nobody else will do it
            self._failed(lost, reason("slot_fenced"))

    def _slot_beat(self, beat: SlotBeat) -> None:
        slot = self._alive(beat.slot, beat.incarnation)
        if slot is not None:
            self.state.put_slot(slot.model_copy(update={"last_beat": self.state.now}))

    def _alive(self, number: int, incarnation: str) -> SlotState | None:
        slot = self.state.slots.get(number)
        if slot is None or slot.incarnation != incarnation or slot.phase == "closed":
            return None
        return slot

    def _attempt_ended(self, ended: AttemptEnded) -> None:
        slot = self._alive(ended.slot, ended.incarnation)
        if slot is None or slot.last_n != ended.n or slot.job_id != ended.job_id:
            return
        update = {"job_id": None, "last_beat": self.state.now, "openings": 0}
        self.state.put_slot(slot.model_copy(update=update))
        job = self.state.jobs.get(ended.job_id)
        if job is None or job.attempt != ended.attempt:
            return
        if ended.outcome in {"completed", "cancelled"}:
            kind = "Completed" if ended.outcome == "completed" else "Cancelled"
            self._end(job.job.job_id, job.job.tenant_id, job.job.spec_digest, kind)
        elif ended.outcome == "preempted":
            self._requeue(job, "Preempted", ended.reason)
        elif ended.outcome == "duplicate":  # the claim is another record's: a new attempt is free
            self._failed(job, reason("slot_fenced"))
        else:
            self._failed(job, ended.reason or reason("render_crashed"))

    def _slot_fenced(self, fenced: SlotFenced) -> None:
        slot = self.state.slots.get(fenced.slot)
        if slot is None or slot.phase == "closed" or slot.incarnation != fenced.incarnation:
            return  # what became of the order, the slot's next SlotFree tells
        if slot.last_n > fenced.through:
            return  # what was sent since then lies beyond the fence and is not touched by it
        lost = slot.job_id
        update = {
            "phase": "closed",
            "job_id": None,
            "accept_through": slot.last_n,
            "openings": 0,
        }
        self.state.put_slot(slot.model_copy(update=update))
        job = self.state.jobs.get(lost) if lost is not None else None
        if job is not None:
            self._failed(job, reason("slot_fenced"))

    # Ends of attempts

    def _failed(self, job: JobState, why: Reason) -> None:
        if job.cancel_requested:
            self._finish(job.job, "Cancelled", reason("cancelled_by_owner"))
            return
        failures = job.failures + 1
        decision = rust_guard.retry(why.code, failures, job.job.job_id)
        if decision.action == "retry":
            avoid = job.slot if decision.elsewhere else None
            later = self.state.now + timedelta(milliseconds=decision.delay_ms)
            update = {"failures": failures, "not_before": later, "avoid_slot": avoid}
            self._requeue(job.model_copy(update=update), "Retrying", why)
            return
        self._commands.append(
            Letter(
                why.code,
                rust_guard.classify(why.code).value,
                why.message,
                failures,
                job.job.job_id,
                job.job.tenant_id,
                job.job,
                job.arrival,
            )
        )
        self._finish(job.job, "Failed", why, attempt=job.attempt)

    def _requeue(self, job: JobState, kind: str, why: Reason | None) -> None:
        if job.cancel_requested:
            self._finish(job.job, "Cancelled", reason("cancelled_by_owner"))
            return
        update = {"phase": "waiting", "attempt": job.attempt + 1, "slot": None, "n": None}
        waiting = job.model_copy(update=update)
        self.state.put_job(waiting)
        self._emit(waiting, kind, why)

    def _finish(self, job: Job, kind: str, why: Reason, attempt: int | None = None) -> None:
        """End a job that the scheduler owns, with its terminal event."""
        known = self.state.jobs.get(job.job_id)
        made = attempt if attempt is not None else (known.attempt - 1 if known else 0)
        event = job_event(kind, job, self.state.now, made, reason=why)
        self._commands.append(Emit(event, job.traceparent))
        self._end(job.job_id, job.tenant_id, job.spec_digest, kind)

    def _end(self, job_id: str, tenant_id: str, digest: str, kind: str) -> None:
        self.state.end_job(
            EndedJob(
                job_id=job_id,
                tenant_id=tenant_id,
                spec_digest=digest,
                kind=kind,
                ended_at=self.state.now,
            )
        )

    # Time

    def _tick(self, _: None) -> None:
        now = self.state.now
        self.state.forget_ended(now - self._settings.dedupe_window)
        expired = [
            job.job
            for job in self.state.jobs.values()
            if job.phase == "waiting"
            and job.job.expires_at is not None
            and job.job.expires_at <= now
        ]
        for job in expired:
            self._finish(job, "Expired", reason("expired"))
        for slot in list(self.state.slots.values()):
            if slot.phase == "open" and now - slot.last_beat > self._settings.beat_timeout:
                self.state.put_slot(slot.model_copy(update={"phase": "fencing"}))
        self._commands.extend(self.overdue_fences())
        self._publish_outlook()

    def _publish_outlook(self) -> None:
        open_slots = [slot for slot in self.state.slots.values() if slot.phase == "open"]
        waiting: dict[str, int] = {}
        for job in self.state.jobs.values():
            if job.phase == "waiting":
                waiting[job.job.priority] = waiting.get(job.job.priority, 0) + 1
        outlook = PoolOutlook(
            pool=self._settings.pool,
            slots=len(open_slots),
            busy=sum(slot.job_id is not None for slot in open_slots),
            waiting=waiting,
        )
        if outlook != self._outlook:
            self._outlook = outlook
            self._commands.append(Publish(outlook))

    # Work to slots

    def _dispatch(self) -> None:
        open_slots = [slot for slot in self.state.slots.values() if slot.phase == "open"]
        for slot in sorted(open_slots, key=lambda each: each.slot):
            if slot.job_id is not None or slot.last_n >= slot.accept_through:
                continue
            chosen = self.state.policy.choose(
                slot.slot, self.state.now, only_slot=len(open_slots) == 1
            )
            if chosen is not None:
                self._assign(slot, self.state.jobs[chosen])

    def _assign(self, slot: SlotState, job: JobState) -> None:
        number = slot.last_n + 1
        update = {"phase": "running", "slot": slot.slot, "n": number, "not_before": None}
        running = job.model_copy(update=update)
        self.state.put_job(running)
        job_id = job.job.job_id
        self.state.put_slot(slot.model_copy(update={"last_n": number, "job_id": job_id}))
        self._emit(running, "Scheduled")
        self._send(running, slot.slot, number, "Assign")

    def _send(self, job: JobState, slot: int, number: int, kind: str) -> None:
        order = Assignment(
            kind=kind,
            n=number,
            job_id=job.job.job_id,
            attempt=job.attempt,
            pool_incarnation=self.state.cursor.pool_incarnation,
            job=job.job if kind == "Assign" else None,
        )
        self._commands.append(Send(slot, order, job.job.traceparent))

    def _emit(self, job: JobState, kind: str, why: Reason | None = None) -> None:
        event = job_event(kind, job.job, self.state.now, job.attempt, slot=job.slot, reason=why)
        self._commands.append(Emit(event, job.job.traceparent))


def _kind_of(field: str) -> str:
    return "".join(part.capitalize() for part in field.split("_"))
