"""What a slot says: its facts, its events, its progress."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from confluent_kafka import Producer

from gpu_consumer.attempt import Attempt
from infra.kafka import Outgoing, plain_producer
from infra.settings import Settings
from infra.telemetry import log, trace_headers
from schemas import cloudevents
from schemas.codec import Codec
from schemas.events import job_event
from schemas.records import (
    Artifact,
    AttemptEnded,
    JobProgress,
    PoolFact,
    Reason,
    SlotBeat,
    SlotFree,
    SlotOpened,
)
from schemas.states import TERMINAL_KINDS
from schemas.topics import Topics


class Voice:
    """Makes the records of one opening of a slot, and sends those outside transactions."""

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        incarnation: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._slot = settings.slot
        self._codec = codec
        self._incarnation = incarnation
        self._now = now
        self._topics = Topics(settings.topic_prefix)
        self._inbox = self._topics.inbox(settings.pool)
        # Steps of milliseconds share a request; nobody misses a beat by as little.
        self._aside: Producer = plain_producer(settings, **{"linger.ms": 20})

    def opened(self, device: str) -> Outgoing:
        """The slot is taken."""
        opened = SlotOpened(slot=self._slot, incarnation=self._incarnation, device=device)
        return self._fact(PoolFact(kind="SlotOpened", slot_opened=opened))

    def free(self, done_through: int, *, more: bool = True) -> Outgoing:
        """All through ``done_through`` is committed; the next one is taken, if ``more``."""
        free = SlotFree(
            slot=self._slot,
            incarnation=self._incarnation,
            done_through=done_through,
            accept_through=done_through + more,
        )
        return self._fact(PoolFact(kind="SlotFree", slot_free=free))

    def ended(self, attempt: Attempt, outcome: str, reason: Reason | None = None) -> Outgoing:
        """An attempt ended: completed, cancelled, failed or duplicate."""
        ended = AttemptEnded(
            slot=self._slot,
            incarnation=self._incarnation,
            n=attempt.n,
            job_id=attempt.job.job_id,
            attempt=attempt.number,
            outcome=outcome,
            reason=reason,
            steps_stored=attempt.stored,
        )
        return self._fact(PoolFact(kind="AttemptEnded", attempt_ended=ended))

    def event(
        self,
        kind: str,
        attempt: Attempt,
        reason: Reason | None = None,
        artifact: Artifact | None = None,
    ) -> list[Outgoing]:
        """A job event; a terminal one also for the completion feed."""
        event = job_event(
            kind,
            attempt.job,
            self._now(),
            attempt.number,
            slot=self._slot,
            reason=reason,
            artifact=artifact,
        )
        feeds = [self._topics.events]
        if kind in TERMINAL_KINDS:
            feeds.append(self._topics.completed)
        headers = [*cloudevents.of_event(event), *trace_headers(attempt.traceparent)]
        key = event.job_id.encode()
        return [Outgoing(t, self._codec.encode(t, event), key, headers=headers) for t in feeds]

    def beat(self, attempt: Attempt | None) -> None:
        """Say that the slot lives, and how far it has come, outside transactions."""
        self._say(self.living(attempt))

    def living(self, attempt: Attempt | None) -> Outgoing:
        """The slot lives, with this attempt in hand."""
        beat = SlotBeat(slot=self._slot, incarnation=self._incarnation)
        if attempt is not None:
            update = {
                "job_id": attempt.job.job_id,
                "n": attempt.n,
                "steps_stored": attempt.stored,
            }
            beat = beat.model_copy(update=update)
        return self._fact(PoolFact(kind="SlotBeat", slot_beat=beat))

    def progress(self, progress: JobProgress) -> None:
        """Say how far the job is: best effort."""
        topic = self._topics.progress
        value = self._codec.encode(topic, progress)
        self._say(Outgoing(topic, value, progress.job_id.encode()))

    def _fact(self, fact: PoolFact) -> Outgoing:
        return Outgoing(self._inbox, self._codec.encode(self._inbox, fact), partition=0)

    def _say(self, record: Outgoing) -> None:
        try:
            record.produce_to(self._aside)
        except BufferError:
            log().warning("slot.not_heard", slot=self._slot)  # Kafka is away; beats go on later
        self._aside.poll(0)
