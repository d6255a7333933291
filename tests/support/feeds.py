"""Public feeds as a consumer of committed records sees them."""

from __future__ import annotations

import time
from collections import Counter
from typing import TypeVar

from confluent_kafka import Message, TopicPartition

from infra.kafka import committed_consumer, is_end
from infra.settings import Settings
from infra.stack.info import StackInfo
from schemas.codec import codec
from schemas.records import DeadLetter, JobEvent, Record
from schemas.topics import Topics

R = TypeVar("R", bound=Record)


def settings_of(info: StackInfo) -> Settings:
    """Settings with which a test's own clients reach the stack."""
    return Settings(kafka=info.kafka, registry=info.registry)


def read_messages(
    settings: Settings,
    topic: str,
    seconds: float = 30,
    isolation: str = "read_committed",
    group: str = "tests.reader",
) -> list[Message]:
    """Every message of a topic, from its beginning to its end now; committed ones by default."""
    extra = {"enable.partition.eof": True, "isolation.level": isolation}
    consumer = committed_consumer(settings, group, **extra)
    partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    found: list[Message] = []
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    try:
        while len(ended) < len(partitions):
            assert time.monotonic() < deadline, f"{topic} was not read in {seconds} s"
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is None:
                found.append(message)
                continue
            assert is_end(message.error()), message.error()
            ended.add(int(message.partition() or 0))
    finally:
        consumer.close()
    return found


def read_all(info: StackInfo, topic: str, model: type[R], seconds: float = 30) -> list[R]:
    """Every committed record of a topic, decoded."""
    settings = settings_of(info)
    decode = codec(settings.registry).decode
    messages = read_messages(settings, topic, seconds)
    return [decode(model, bytes(message.value() or b"")) for message in messages]


def completions(info: StackInfo) -> Counter[str]:
    """How many terminal events the public completion feed holds, by job id."""
    return Counter(e.job_id for e in read_all(info, Topics().completed, JobEvent))


def events_of(info: StackInfo, job_id: str) -> list[JobEvent]:
    """A job's events, in order."""
    return [e for e in read_all(info, Topics().events, JobEvent) if e.job_id == job_id]


def letters(info: StackInfo) -> list[DeadLetter]:
    """Every dead letter."""
    return read_all(info, Topics().dlq, DeadLetter)
