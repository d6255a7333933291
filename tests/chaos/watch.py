"""Follows the public feeds while a storm rages, and knows what is in flight and what has ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from infra.kafka import committed_consumer, common
from infra.stack.info import StackInfo
from schemas.codec import codec
from schemas.errors import RegistryUnavailable
from schemas.records import JobEvent, JobProgress
from schemas.states import TERMINAL_KINDS
from schemas.topics import Topics
from tests.support.feeds import settings_of

#: Brokers are struck down on purpose: what the clients say of that is no news.
SILENT: Final = logging.Logger("storm.kafka", logging.CRITICAL)  # noqa: LOG001 - prints nothing
#: Longer than a broker needs to come back.
_CONNECT: Final = 120.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A committed record, when it came in by this machine's monotonic clock."""

    topic: str
    partition: int
    offset: int
    at: float
    record: JobEvent | JobProgress | None


class Watch:
    """A thread that reads the feeds, dead letters and the scheduler's state from the first.

    Attributes:
        last: A job's latest event.
        ended: Jobs that have a terminal event.
        progress: Every progress record, in the order of each job.
        newest: Offset of the last record of each topic and partition. The end of a partition says
            less: it counts the marks of transactions, which no consumer ever sees.
    """

    def __init__(self, info: StackInfo, pool: str) -> None:
        self._info = info
        topics = Topics()
        self._models: dict[str, Any] = {topics.events: JobEvent, topics.progress: JobProgress}
        self._topics = (
            topics.events,
            topics.completed,
            topics.progress,
            topics.dlq,
            topics.state(pool),
        )
        self.last: dict[str, JobEvent] = {}
        self.ended: set[str] = set()
        self.progress: list[JobProgress] = []
        self.newest: dict[tuple[str, int], int] = {}
        self._listeners: list[Callable[[Seen], None]] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._admin = AdminClient(common(settings_of(info)), logger=SILENT)
        self._places: list[TopicPartition] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._stopping.set()
        self._thread.join(30)

    def listen(self, listener: Callable[[Seen], None]) -> None:
        """Have every record from now on told to ``listener``, on the watch's thread."""
        self._listeners.append(listener)

    def in_hand(self, slot: int) -> str | None:
        """The job that the slot has in hand, as far as the feed tells."""
        with self._lock:
            for job_id, event in self.last.items():
                if event.slot == slot and event.kind in {"Scheduled", "Started"}:
                    return job_id
        return None

    def ends(self) -> dict[tuple[str, int], int] | None:
        """The offset at which each partition ends; None while Kafka does not answer."""
        wanted = {place: OffsetSpec.latest() for place in self._places}  # type: ignore[no-untyped-call]
        try:
            asked = self._admin.list_offsets(wanted, request_timeout=2.0)
            return {
                (place.topic, place.partition): answer.result(2.0).offset
                for place, answer in asked.items()
            }
        except (KafkaException, TimeoutError):
            return None

    def _run(self) -> None:
        consumer = committed_consumer(settings_of(self._info), "storm.watch", logger=SILENT)
        places: list[TopicPartition] = []
        deadline = time.monotonic() + _CONNECT
        while not places and time.monotonic() < deadline:
            try:
                known = consumer.list_topics(timeout=10).topics
            except KafkaException:
                continue
            places = [
                TopicPartition(topic, number, 0)
                for topic in self._topics
                for number in known[topic].partitions
            ]
        consumer.assign(places)
        self._places = places
        while not self._stopping.is_set():
            for message in consumer.consume(500, 0.05):
                self._take(message)
        consumer.close()

    def _decoded(self, topic: str, value: bytes) -> JobEvent | JobProgress | None:
        if topic not in self._models:
            return None
        while True:
            try:
                return cast(
                    "JobEvent | JobProgress",
                    codec(self._info.registry).decode(self._models[topic], value),
                )
            except RegistryUnavailable:
                self._stopping.wait(0.2)  # struck down by the storm itself

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(error)
            return  # the broker is away: the client goes on by itself
        topic = str(message.topic())
        record = self._decoded(topic, bytes(message.value() or b""))
        place = int(message.partition() or 0), int(message.offset() or 0)
        seen = Seen(topic, *place, time.monotonic(), record)
        self.newest[topic, seen.partition] = seen.offset
        with self._lock:
            match record:
                case JobEvent():
                    self.last[record.job_id] = record
                    if record.kind in TERMINAL_KINDS:
                        self.ended.add(record.job_id)
                        self.last.pop(record.job_id)
                case JobProgress():
                    self.progress.append(record)
        for listener in list(self._listeners):
            listener(seen)
