"""Records of a topic, with their keys and headers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from confluent_kafka import Message, TopicPartition

from infra.kafka import committed_consumer, is_end
from schemas.codec import codec
from schemas.records import Record
from tests.integration.ingest.edge_stack import EdgeStack

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Read(Generic[R]):
    """A decoded record and where it lay."""

    value: R
    key: bytes | None
    partition: int
    headers: dict[str, bytes]


def _headers(message: Message) -> dict[str, bytes]:
    pairs: Any = message.headers() or []
    return {name: bytes(data) for name, data in pairs}


def records(edge: EdgeStack, topic: str, model: type[R], seconds: float = 30) -> list[Read[R]]:
    """Every committed record of ``topic`` up to its end now; empty values are left out."""
    decode = codec(edge.settings.registry).decode
    consumer = committed_consumer(edge.settings, "tests.reader", **{"enable.partition.eof": True})
    partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    found: list[Read[R]] = []
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    try:
        while len(ended) < len(partitions):
            assert time.monotonic() < deadline, f"{topic} was not read in {seconds} s"
            message = consumer.poll(0.2)
            if message is None:
                continue
            number = int(message.partition() or 0)
            if message.error() is not None:
                assert is_end(message.error()), message.error()
                ended.add(number)
            elif message.value():
                value = decode(model, bytes(message.value() or b""))
                headers = _headers(message)
                found.append(Read(value, message.key(), number, headers))
    finally:
        consumer.close()
    return found
