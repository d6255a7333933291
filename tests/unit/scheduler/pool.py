"""A pool in memory: facts in, commands out, as a story."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.records import (
    AttemptEnded,
    CancelRequested,
    Cursor,
    Job,
    PoolFact,
    Reason,
    Refusal,
    SlotBeat,
    SlotFenced,
    SlotFree,
    SlotOpened,
    Spec,
)
from streams.scheduler.commands import Command, Emit, Send
from streams.scheduler.fold import Fold, FoldSettings
from streams.scheduler.policy import PriorityThenArrival
from streams.scheduler.state import State

START = datetime(2026, 11, 24, tzinfo=UTC)
SETTINGS = FoldSettings("mochi-1", timedelta(seconds=10), timedelta(days=7))


def job_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def a_job(number: int, **changes: Any) -> Job:
    spec = Spec(
        prompt="a fox",
        negative_prompt="",
        width=64,
        height=64,
        num_frames=7,
        num_inference_steps=4,
        guidance_scale=4.5,
        seed=1,
    )
    job = Job(
        job_id=job_id(number),
        tenant_id="acme",
        pool="mochi-1",
        priority="normal",
        spec=spec,
        spec_digest="d" * 64,
        submitted_at=START,
        metadata={},
    )
    return job.model_copy(update=changes)


class Pool:
    """A fold with a log clock; every method folds one fact and returns its commands."""

    def __init__(self) -> None:
        cursor = Cursor(offset=0, pool_incarnation="p", now=START)
        self.fold = Fold(State(cursor, PriorityThenArrival()), SETTINGS)
        self.now = START
        self.log: list[tuple[PoolFact, int, datetime]] = []
        self.said: list[Command] = []

    @property
    def state(self) -> State:
        return self.fold.state

    def tell(self, kind: str, **payload: Any) -> list[Command]:
        fact = PoolFact(kind=kind, **payload)
        offset = len(self.log)
        self.log.append((fact, offset, self.now))
        commands = self.fold.step(fact, offset, self.now)
        self.said.extend(commands)
        return commands

    def admit(self, job: Job) -> list[Command]:
        return self.tell("Admitted", admitted=job)

    def refuse(self, number: int, code: str = "invalid_request") -> list[Command]:
        refusal = Refusal(
            job_id=job_id(number),
            tenant_id="acme",
            pool="mochi-1",
            priority="normal",
            spec_digest="r" * 64,
            submitted_at=START,
            reason=Reason(code=code, message="m"),
            metadata={},
        )
        return self.tell("Refused", refused=refusal)

    def cancel(self, number: int, tenant: str = "acme") -> list[Command]:
        wish = CancelRequested(job_id=job_id(number), tenant_id=tenant)
        return self.tell("CancelRequested", cancel_requested=wish)

    def open(self, slot: int, incarnation: str = "i1", done: int = 0) -> list[Command]:
        opened = SlotOpened(slot=slot, incarnation=incarnation, device="cpu")
        return self.tell("SlotOpened", slot_opened=opened) + self.free(slot, done, incarnation)

    def free(
        self, slot: int, done: int, incarnation: str = "i1", *, more: bool = True
    ) -> list[Command]:
        free = SlotFree(
            slot=slot, incarnation=incarnation, done_through=done, accept_through=done + more
        )
        return self.tell("SlotFree", slot_free=free)

    def beat(self, slot: int, incarnation: str = "i1") -> list[Command]:
        return self.tell("SlotBeat", slot_beat=SlotBeat(slot=slot, incarnation=incarnation))

    def render(self, slot: int, steps: int = 0, n: int | None = None) -> list[Command]:
        """The slot says that its job's child is launched, with ``steps`` in the store.

        ``n``: of which assignment, if not of the one in hand.
        """
        known = self.state.slots[slot]
        beat = SlotBeat(
            slot=slot,
            incarnation=known.incarnation,
            job_id=known.job_id,
            n=known.last_n if n is None else n,
            steps_stored=steps,
        )
        return self.tell("SlotBeat", slot_beat=beat)

    def end(
        self,
        slot: int,
        n: int,
        number: int,
        outcome: str = "completed",
        code: str | None = None,
        attempt: int = 1,
        incarnation: str = "i1",
        *,
        steps: int | None = None,
    ) -> list[Command]:
        ended = AttemptEnded(
            slot=slot,
            incarnation=incarnation,
            n=n,
            job_id=job_id(number),
            attempt=attempt,
            outcome=outcome,
            reason=Reason(code=code, message="m") if code else None,
            steps_stored=steps,
        )
        return self.tell("AttemptEnded", attempt_ended=ended)

    def fenced(self, slot: int, through: int, incarnation: str = "i1") -> list[Command]:
        fact = SlotFenced(slot=slot, incarnation=incarnation, through=through)
        return self.tell("SlotFenced", slot_fenced=fact)

    def tick(self, seconds: float = 1.0) -> list[Command]:
        self.now += timedelta(seconds=seconds)
        return self.tell("Tick")

    def wait(self, seconds: int, *alive: int) -> list[Command]:
        """Ticks second by second, in which the slots ``alive`` beat."""
        said = []
        for _ in range(seconds):
            for slot in alive:
                self.beat(slot, self.state.slots[slot].incarnation)
            said += self.tick()
        return said


def kinds(commands: list[Command]) -> list[str]:
    """The commands in short: event kinds, orders as ``Assign->slot``, others by type."""
    short = []
    for command in commands:
        if isinstance(command, Emit):
            short.append(command.event.kind)
        elif isinstance(command, Send):
            short.append(f"{command.assignment.kind}->{command.slot}")
        elif type(command).__name__ != "Publish":
            short.append(type(command).__name__)
    return short
