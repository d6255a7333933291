"""Reading the scheduler's state back, until it is exactly what the committed offset stands on."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from infra.kafka import committed_consumer, is_end
from infra.settings import Settings
from infra.telemetry import log
from schemas.codec import Codec
from schemas.records import Cursor, PoolState
from schemas.topics import Topics
from streams.scheduler.policy import PriorityThenArrival
from streams.scheduler.state import State

_DEADLINE: Final = 120.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class StateLostError(Exception):
    """The state topic does not reach the committed offset: do not run on it."""


def new_state() -> State:
    """The state of a pool that has never run, with a fresh incarnation."""
    cursor = Cursor(offset=0, pool_incarnation=str(uuid.uuid4()), now=_EPOCH)
    return State(cursor, PriorityThenArrival())


def restore(settings: Settings, codec: Codec, committed: int | None) -> State:
    """The state at inbox offset ``committed``; a new one when nothing was ever committed.

    Raises:
        StateLostError: the cursor found is another one, even after waiting.
        CodecError: an entry cannot be read.
        KafkaException: Kafka does not answer.
    """
    state = new_state()
    topics = Topics(settings.topic_prefix)
    topic = topics.state(settings.pool)
    began, entries, at_end = time.monotonic(), 0, False
    consumer = committed_consumer(
        settings, topics.group(f"restore.{settings.pool}"), **{"enable.partition.eof": True}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        while not (at_end and state.cursor.offset == (committed or 0)):
            if at_end and committed is None:
                raise StateLostError(f"cursor {state.cursor.offset}, and no committed offset")
            message = consumer.poll(0.5)
            if time.monotonic() - began > _DEADLINE:
                raise StateLostError(f"cursor {state.cursor.offset}, committed {committed}")
            if message is None:
                continue
            if message.error() is not None:
                at_end = is_end(message.error())
                if not at_end:
                    raise KafkaException(message.error())
                continue
            at_end, entries = False, entries + 1
            value = message.value()
            key = bytes(message.key() or b"").decode()
            state.load(key, None if value is None else codec.decode(PoolState, bytes(value)))
    finally:
        consumer.close()
    log().info(
        "scheduler.restored",
        entries=entries,
        jobs=len(state.jobs),
        ended=len(state.ended),
        seconds=round(time.monotonic() - began, 2),
    )
    return state
