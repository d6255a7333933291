"""Job events written as the scheduler and the slots do: in Kafka transactions, to real topics."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from confluent_kafka import Producer

from infra.kafka import PARTITIONER, Outgoing, common
from infra.settings import Settings
from infra.telemetry import Headers, trace_headers
from schemas.codec import codec
from schemas.records import JobEvent
from schemas.states import TERMINAL_KINDS
from schemas.topics import Topics


class Log:
    """Writes events; each call is one transaction."""

    def __init__(self, settings: Settings) -> None:
        self._codec = codec(settings.registry)
        self._topics = Topics(settings.topic_prefix)
        self._producer = Producer(
            common(settings)
            | {
                "transactional.id": f"tests-{uuid.uuid4()}",
                "partitioner": PARTITIONER,
                "linger.ms": 5,
            }
        )
        self._producer.init_transactions(30)

    def write(
        self, events: Iterable[JobEvent], trace: str | None = None, *, abort: bool = False
    ) -> None:
        """Produce the events to jobs.events, and terminal ones to jobs.completed."""
        self._producer.begin_transaction()
        headers = trace_headers(trace) if trace else []
        for event in events:
            topics = [self._topics.events]
            if event.kind in TERMINAL_KINDS:
                topics.append(self._topics.completed)
            for topic in topics:
                self.raw(topic, event.job_id, self._codec.encode(topic, event), headers)
        if abort:
            self._producer.flush(30)
            self._producer.abort_transaction(30)
        else:
            self._producer.commit_transaction(30)

    def raw(self, topic: str, key: str, value: bytes, headers: Headers | None = None) -> None:
        """Put one record into the open transaction."""
        record = Outgoing(topic, value, key.encode(), headers=headers or [])
        while True:
            try:
                record.produce_to(self._producer)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def write_raw(self, topic: str, key: str, value: bytes) -> None:
        """One record in a transaction of its own."""
        self._producer.begin_transaction()
        self.raw(topic, key, value)
        self._producer.commit_transaction(30)
