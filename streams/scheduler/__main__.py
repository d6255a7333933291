"""``python -m streams.scheduler``: the shell around the fold.

Crash-only: whatever goes wrong ends the process, and the next one restores to the committed offset.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from infra.crash import crash_point
from infra.kafka import Outgoing, committed_consumer, committed_offset, plain_producer
from infra.settings import Settings, settings
from infra.telemetry import log, start
from infra.transactions import TransactionError, Transactions
from schemas.codec import codec
from schemas.errors import CodecError
from schemas.records import PoolFact
from schemas.topics import Topics
from streams.scheduler import metrics
from streams.scheduler.commands import Fence
from streams.scheduler.fencing import AssignmentNotFoundError, fence
from streams.scheduler.fold import Fold, FoldSettings, UnknownFactError
from streams.scheduler.outbox import Outbox
from streams.scheduler.restore import StateLostError, restore
from streams.scheduler.source import Source
from streams.scheduler.state import State
from streams.scheduler.trim import Trimmer

_BATCH: Final = 500
#: Seconds between two looks whether Kafka can still be heard, and for how long it may be silent.
_LOOK: Final = 10.0
_SILENCE: Final = 5.0
#: Seconds before a fence that failed is tried again; doubled each time.
_PAUSE: Final = 1.0
_MAX_PAUSE: Final = 60.0


class OvertakenError(Exception):
    """The inbox belongs to another scheduler now."""


@dataclass(slots=True)
class _Folded:
    """What a batch came to; ``stopped_by`` says why the rest of it was not folded."""

    records: list[Outgoing] = field(default_factory=list)
    fences: dict[int, Fence] = field(default_factory=dict)
    stopped_by: CodecError | UnknownFactError | None = None


class Scheduler:
    """Folds one pool's inbox for as long as the group gives it that partition."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._codec = codec(config.registry)
        self._topics = Topics(config.topic_prefix)
        self._inbox = self._topics.inbox(config.pool)
        self._outbox = Outbox(self._codec, self._topics, config.pool)
        self._group = self._topics.group(f"scheduler.{config.pool}")
        self._transactions = Transactions(config, f"{config.topic_prefix}scheduler-{config.pool}")
        self._consumer: Consumer = committed_consumer(
            config,
            self._group,
            **{
                "group.instance.id": f"scheduler-{config.pool}-{config.instance}",
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 1000,
                # A stand-by, or one that was overtaken and wakes up, joins without a revocation.
                "partition.assignment.strategy": "cooperative-sticky",
            },
        )
        self._earn = FoldSettings.of(config).retry_earn
        self._ticker = plain_producer(config)
        self._next_tick = 0.0
        self._next_look = time.monotonic() + _LOOK
        self._trimmer = Trimmer(config)
        #: When a slot's fence has failed last, and seconds until the next try.
        self._fence_tries: dict[int, tuple[float, float]] = {}
        self._fold: Fold | None = None
        self._stopping = False

    def run(self) -> None:
        """Fold until told to stop.

        Raises:
            OvertakenError: another instance took over.
            TransactionError: a commit's outcome is unknown.
            KafkaException: Kafka failed.
            CodecError, UnknownFactError: the inbox holds a record that cannot be read; all before
                it is committed, and nothing is skipped.
        """
        self._codec.warm(self._topics.records_of_scheduler(self._config.pool))
        self._consumer.subscribe(
            [self._inbox],
            on_assign=self._on_assign,
            on_revoke=self._overtaken,
            on_lost=self._overtaken,
        )
        while not self._stopping:
            batch = self._poll()
            if self._fold is None:
                self._listen()
            else:
                self._tick(self._fold.state)
                self._trimmer.turn(self._fold.state.cursor.offset, self._fold.state.wall)
            if batch:
                self._commit(batch)
        self._consumer.close()

    def stop(self, *_: int | FrameType | None) -> None:
        """Stop after the batch in hand."""
        self._stopping = True

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        self._transactions.renew()
        committed = committed_offset(consumer, self._inbox, 0)
        crash_point("scheduler_during_restore")
        state = restore(self._config, self._codec, committed.offset if committed else None)
        self._fold = Fold(state, FoldSettings.of(self._config))
        consumer.incremental_assign([TopicPartition(self._inbox, 0, state.cursor.offset)])
        metrics.RESTORES.inc()
        log().info("scheduler.assigned", offset=state.cursor.offset, jobs=len(state.jobs))

    def _overtaken(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions and not self._stopping:
            raise OvertakenError("the inbox was given to another scheduler")

    def _poll(self) -> list[Message]:
        first = self._consumer.poll(0.1)
        if first is None:
            return []
        batch = [first, *self._consumer.consume(_BATCH - 1, 0)]
        for message in batch:
            if message.error() is not None:
                raise KafkaException(message.error())
        return batch

    def _listen(self) -> None:
        """A stand-by may hear nothing for days; a client that has lost Kafka must be replaced.

        With an assignment there is no need to look: heartbeats fail, and it counts as lost.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK
            self._consumer.list_topics(self._inbox, _SILENCE)

    def _tick(self, state: State) -> None:
        now = time.monotonic()
        self._ticker.poll(0)
        if now < self._next_tick:
            return
        self._next_tick = now + self._config.tick_interval
        value = self._codec.encode(self._inbox, PoolFact(kind="Tick"))
        Outgoing(self._inbox, value, partition=0).produce_to(self._ticker)
        metrics.observe(state, self._earn)

    def _commit(self, batch: list[Message]) -> None:
        fold = self._fold
        if fold is None:
            raise OvertakenError("records without an assignment")
        if not self._transactions.usable:
            self._renew(fold.state.cursor.offset)
        crash_point("scheduler_after_read")
        began, before = time.monotonic(), fold.state.cursor.offset
        folded = self._folded(fold, batch)
        if fold.state.cursor.offset > before:  # what lies before an unreadable record is not lost
            records = [*folded.records, *self._outbox.state_records(fold.state)]
            position = TopicPartition(self._inbox, 0, fold.state.cursor.offset)
            self._transactions.commit(records, position, self._consumer, "scheduler")
            metrics.BATCH_SECONDS.observe(time.monotonic() - began)
        for command in folded.fences.values():
            self._fence(command)
        if folded.stopped_by is not None:
            raise folded.stopped_by

    def _folded(self, fold: Fold, batch: list[Message]) -> _Folded:
        done = _Folded()
        for message in batch:
            source = Source.of(message)
            try:
                fact = self._codec.decode(PoolFact, source.value)
                commands = fold.step(fact, source.offset, source.at)
            except (CodecError, UnknownFactError) as error:
                done.stopped_by = error
                break
            metrics.FACTS.labels(fact.kind).inc()
            for command in commands:
                done.records.extend(self._outbox.records(command, source))
                if isinstance(command, Fence):
                    done.fences[command.slot] = command
        return done

    def _renew(self, expected: int) -> None:
        self._transactions.renew()
        committed = committed_offset(self._consumer, self._inbox, 0)
        if (committed.offset if committed else 0) != expected:
            raise OvertakenError(f"committed offset is {committed}, expected {expected}")

    def _fence(self, command: Fence) -> None:
        fold = self._fold
        slot = fold.state.slots.get(command.slot) if fold else None
        if slot is None or slot.phase != "fencing":
            return
        tried, pause = self._fence_tries.get(command.slot, (0.0, 0.0))
        if time.monotonic() < tried + pause:
            return  # a fence takes its time to fail: the other slots' facts wait meanwhile
        metrics.FENCES.inc()
        try:
            fence(self._config, self._codec, command)
            self._fence_tries.pop(command.slot, None)
        except (
            TransactionError,
            KafkaException,
            AssignmentNotFoundError,
            CodecError,
            ValueError,  # a mark that is not ours: one bad slot must not end the pool
        ) as error:
            log().error("slot.fence_failed", slot=command.slot, error=str(error))
            pause = min(max(_PAUSE, 2 * pause), _MAX_PAUSE)
            self._fence_tries[command.slot] = (time.monotonic(), pause)


def main() -> int:
    """Run the scheduler of the pool in the settings."""
    start("scheduler", settings())
    scheduler = Scheduler(settings())
    signal.signal(signal.SIGTERM, scheduler.stop)
    signal.signal(signal.SIGINT, scheduler.stop)
    try:
        scheduler.run()
    except UnknownFactError as error:
        log().error("scheduler.halted", error=str(error), remedy="upgrade the scheduler first")
        return 1
    except CodecError as error:
        log().error("scheduler.halted", error=str(error), code=error.code)
        return 1
    except (OvertakenError, TransactionError, KafkaException, StateLostError) as error:
        log().error("scheduler.ended", error=str(error), kind=type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
