"""A pool on topics of one test's own: its scheduler may run, its slots are played by the test."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from gpu_consumer.attempt import Attempt
from gpu_consumer.slot_log import SlotLog
from gpu_consumer.voice import Voice
from infra.kafka import Outgoing, committed_consumer, committed_offset, common
from infra.provision import make_topics, register_schemas
from infra.settings import Settings
from infra.slots import SlotMark, slot_group
from schemas.records import (
    Assignment,
    Cursor,
    Job,
    JobEvent,
    PoolFact,
    PoolState,
    Spec,
)
from tests.integration.streams.bus import Bus


@dataclass
class PoolBus(Bus):
    """All of a pool's topics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        there = {topic.name for topic in self.declared}
        declared = self.topics.declared((self.settings.pool,), self.settings.slots)
        rest = [topic for topic in declared if topic.name not in there]
        make_topics(self.settings, rest)
        register_schemas(self.settings, rest)

    @property
    def assignments(self) -> str:
        return self.topics.assignments(self.settings.pool)

    def of_slot(self, slot: int, **changes: Any) -> Settings:
        return self.settings.model_copy(update={"slot": slot, **changes})

    def put(self, *records: Outgoing) -> None:
        """Produce outside transactions, and wait until all of it is there."""
        for record in records:
            record.produce_to(self.producer)
        assert self.producer.flush(15) == 0

    def fact(self, kind: str, **payload: Any) -> Outgoing:
        value = self.codec.encode(self.inbox, PoolFact(kind=kind, **payload))
        return Outgoing(self.inbox, value, partition=0)

    def admit(self, *jobs: Job) -> None:
        self.put(*(self.fact("Admitted", admitted=job) for job in jobs))

    def an_assign(self, slot: int, n: int, job: Job) -> Outgoing:
        order = Assignment(
            kind="Assign", n=n, job_id=job.job_id, attempt=1, pool_incarnation="p", job=job
        )
        value = self.codec.encode(self.assignments, order)
        return Outgoing(self.assignments, value, partition=slot)

    def place(self, slot: int) -> tuple[int, SlotMark] | None:
        """The slot's committed offset and mark."""
        consumer = committed_consumer(self.settings, slot_group(self.settings))
        try:
            found = committed_offset(consumer, self.assignments, slot)
            return None if found is None else (found.offset, SlotMark.read(found))
        finally:
            consumer.close()

    def members(self, group: str) -> int:
        """How many processes share the work of a pool's group."""
        name = self.topics.group(f"{group}.{self.settings.pool}")
        admin = AdminClient(common(self.settings))
        return len(admin.describe_consumer_groups([name])[name].result(15).members)

    def folded(self) -> int:
        """The inbox offset through which the scheduler has committed."""
        group = f"scheduler.{self.settings.pool}"
        return self.committed(group, TopicPartition(self.inbox, 0))

    def events(self) -> list[JobEvent]:
        return self.read(self.topics.events, JobEvent)

    def ends(self) -> list[JobEvent]:
        return self.read(self.topics.completed, JobEvent)

    def orders(self) -> list[tuple[int, Assignment]]:
        """Committed orders with their slots."""
        return [
            (message.partition() or 0, self.codec.decode(Assignment, message.value()))
            for message in self.messages(self.assignments)
        ]

    def cursors(self) -> list[Cursor]:
        state = [
            self.codec.decode(PoolState, message.value())
            for message in self.messages(self.topics.state(self.settings.pool))
            if message.value() is not None
        ]
        return [entry.cursor for entry in state if entry.cursor is not None]


def a_job(prompt: str = "a fox") -> Job:
    spec = Spec(
        prompt=prompt,
        negative_prompt="",
        width=64,
        height=64,
        num_frames=7,
        num_inference_steps=4,
        guidance_scale=4.5,
        seed=1,
    )
    return Job(
        job_id=str(uuid.uuid4()),
        tenant_id="acme",
        pool="mochi-1",
        priority="normal",
        spec=spec,
        spec_digest="d" * 64,
        submitted_at=datetime.now(UTC),
        metadata={},
    )


class PlayedSlot:
    """A slot whose renders take no time: every Assign is completed by the real transactions."""

    def __init__(self, bus: PoolBus, slot: int) -> None:
        settings = bus.of_slot(slot)
        incarnation = str(uuid.uuid4())
        self.log = SlotLog(settings, incarnation)
        self._bus = bus
        self._voice = Voice(settings, bus.codec, incarnation)

    def open(self) -> None:
        self.log.take()
        done = self.log.done_through
        self.log.commit([self._voice.opened("played"), self._voice.free(done)])
        self.log.start_reading()

    def turn(self) -> None:
        """Beat, and complete the next order if there is one."""
        self._voice.beat(None)
        message = self.log.poll(0.1)
        if message is None:
            return
        order = self._bus.codec.decode(Assignment, message.value())
        assert order.job is not None
        self.complete(Attempt.of(order, order.job, message.offset() or 0, None))

    def complete(self, attempt: Attempt) -> None:
        """End the attempt as a slot ends it whose video is sealed."""
        self.log.commit(self._end(attempt), attempt.n, attempt.offset + 1)

    def _end(self, attempt: Attempt) -> Sequence[Outgoing]:
        return [
            *self._voice.event("Completed", attempt),
            self._voice.ended(attempt, "completed"),
            self._voice.free(attempt.n),
        ]


@contextmanager
def played(bus: PoolBus, slots: int, first: int = 0) -> Iterator[None]:
    """``slots`` slots, from number ``first`` on, that work until the block ends."""
    stop, failures = Event(), list[BaseException]()

    def work(slot: PlayedSlot) -> None:
        try:
            while not stop.is_set():
                slot.turn()
        except BaseException as error:  # noqa: BLE001 told to the test below
            failures.append(error)
        finally:
            slot.log.close()

    playing = [PlayedSlot(bus, number) for number in range(first, first + slots)]
    for slot in playing:
        slot.open()
    threads = [Thread(target=work, args=(slot,), daemon=True) for slot in playing]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert failures == []
