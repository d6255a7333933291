"""The decisions of the scheduler: one deterministic step over (state, fact).

No I/O, no clock, no randomness: time comes with the facts, retry delays from the guard's seeded
policy. After an abort the state is restored from its topic, never patched. What requests mean is in
``requests.py``, what slots say in ``slots.py``, what becomes of lost starts in ``retries.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from infra.settings import Settings
from schemas.records import PoolFact, PoolOutlook, TenantChanged
from streams.scheduler.commands import Command, Fence, Publish
from streams.scheduler.jobs import Jobs, reason
from streams.scheduler.requests import Requests
from streams.scheduler.retries import Retries
from streams.scheduler.slots import Slots
from streams.scheduler.state import State


class UnknownFactError(Exception):
    """A fact of a kind this version does not know: upgrade the scheduler before its writers."""


@dataclass(frozen=True, slots=True)
class FoldSettings:
    """What the fold is parametrised with.

    Attributes:
        pool: Its name.
        beat_timeout: A slot silent for longer is fenced.
        dedupe_window: How long ended jobs are remembered.
        retry_earn: In this time each slot that works earns the pool's failed jobs one retry.
    """

    pool: str
    beat_timeout: timedelta
    dedupe_window: timedelta
    retry_earn: timedelta = timedelta(seconds=10)

    @classmethod
    def of(cls, settings: Settings) -> FoldSettings:
        """The fold's part of the process's settings."""
        return cls(
            settings.pool,
            timedelta(seconds=settings.beat_timeout),
            timedelta(seconds=settings.dedupe_window),
            timedelta(seconds=settings.retry_earn),
        )


class Fold:
    """One pool's scheduler core.

    Attributes:
        state: Changed in place by :meth:`step`.
    """

    def __init__(self, state: State, settings: FoldSettings) -> None:
        self.state = state
        self._settings = settings
        self._jobs = Jobs(state)
        self._outlook: PoolOutlook | None = None
        requests = Requests(self._jobs, settings.dedupe_window)
        slots = Slots(self._jobs, Retries(self._jobs, settings.retry_earn))
        self._handlers: dict[str, Callable[[Any], None]] = {
            "admitted": requests.admitted,
            "refused": requests.refused,
            "cancel_requested": requests.cancel_requested,
            "tenant_changed": self._tenant_changed,
            "slot_opened": slots.opened,
            "slot_free": slots.free,
            "slot_beat": slots.beat,
            "attempt_ended": slots.attempt_ended,
            "slot_fenced": slots.fenced,
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
        self._move_time(offset, at)
        handler(payload)
        self._dispatch()
        return self._jobs.taken()

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

    def _tenant_changed(self, change: TenantChanged) -> None:
        self.state.put_tenant(change.tenant)

    # Time

    def _move_time(self, offset: int, at: datetime) -> None:
        """When the log itself stood still, no slot could be heard: nobody is blamed for that."""
        before, begun = self.state.now, self.state.cursor.offset > 0
        self.state.advance(offset, at, leap=self._settings.beat_timeout / 2)
        silence = self.state.now - before
        if begun and silence > self._settings.beat_timeout / 2:
            for slot in list(self.state.slots.values()):
                heard = min(slot.last_beat + silence, self.state.now)
                self.state.put_slot(slot.model_copy(update={"last_beat": heard}))

    def _tick(self, _: None) -> None:
        if self.state.settled:
            self.state.forget_ended(self.state.wall - self._settings.dedupe_window)
            for job in list(self.state.jobs.values()):
                if job.phase == "waiting" and self.state.deadline_passed(job.job):
                    self._jobs.finish(job.job, "Expired", reason("expired"))
        for slot in list(self.state.slots.values()):
            silence = self.state.now - slot.last_beat
            if slot.phase == "open" and silence > self._settings.beat_timeout:
                self.state.put_slot(slot.model_copy(update={"phase": "fencing"}))
        self._jobs.say(*self.overdue_fences())
        self._publish_outlook()

    def _publish_outlook(self) -> None:
        working = self.state.working()
        waiting: dict[str, int] = {}
        for job in self.state.jobs.values():
            if job.phase == "waiting":
                waiting[job.job.priority] = waiting.get(job.job.priority, 0) + 1
        outlook = PoolOutlook(
            pool=self._settings.pool,
            slots=len(working),
            busy=sum(slot.job_id is not None for slot in working),
            waiting=waiting,
        )
        if outlook != self._outlook:
            self._outlook = outlook
            self._jobs.say(Publish(outlook))

    # Work to slots

    def _dispatch(self) -> None:
        working = self.state.working()
        for slot in sorted(working, key=lambda each: each.slot):
            if slot.job_id is not None or slot.last_n >= slot.accept_through:
                continue
            chosen = self._choose(slot.slot, only_slot=len(working) == 1)
            if chosen is not None:
                self._jobs.assign(slot, self.state.jobs[chosen])

    def _choose(self, slot: int, *, only_slot: bool) -> str | None:
        """The job for a free slot: never one whose deadline has passed."""
        while True:
            chosen = self.state.policy.choose(slot, self.state.now, only_slot=only_slot)
            if chosen is None:
                return None
            job = self.state.jobs[chosen].job
            if not self.state.deadline_passed(job):
                return chosen
            if not self.state.settled:
                return None
            self._jobs.finish(job, "Expired", reason("expired"))


def _kind_of(field: str) -> str:
    return "".join(part.capitalize() for part in field.split("_"))
