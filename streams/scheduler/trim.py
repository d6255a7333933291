"""What nobody reads again of a pool's logs is deleted now and then.

The inbox and the assignments have no time limit: a record must outlive any outage of its reader. So
they are cut below the offsets that their readers have committed, and what is younger than a margin
stays for people to look at. A cut that fails is only a warning; the next one makes up for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # exported without __all__
    AdminClient,
    OffsetSpec,
)

from infra.kafka import committed_consumer, common
from infra.settings import Settings
from infra.slots import slot_group
from infra.telemetry import log
from schemas.topics import Topics
from streams.scheduler.clock import in_ms

_TIMEOUT: Final = 15.0
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]


class Trimmer:
    """Trims one pool's logs from time to time, on a thread of its own, so that no fact waits."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._due = time.monotonic() + config.trim_interval
        self._thread: threading.Thread | None = None

    def turn(self, folded: int, wall: datetime) -> None:
        """Begin to trim if it is time; returns at once.

        Args:
            folded: The inbox offset that is committed.
            wall: The broker's time.
        """
        busy = self._thread is not None and self._thread.is_alive()
        if not self._config.trim_interval or busy or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._config.trim_interval
        self._thread = threading.Thread(target=self._trim, args=(folded, wall), daemon=True)
        self._thread.start()

    def _trim(self, folded: int, wall: datetime) -> None:
        try:
            trim(self._config, folded, wall - timedelta(seconds=self._config.trim_keep))
        except KafkaException as error:
            log().warning("log.not_trimmed", error=str(error))


def trim(config: Settings, folded: int, before: datetime) -> dict[tuple[str, int], int]:
    """Delete what is committed and older than ``before``.

    Args:
        config: The pool's settings.
        folded: The inbox offset that the scheduler has committed.
        before: A broker time.

    Returns:
        The new first offset of each partition, by topic and partition, that was cut.

    Raises:
        KafkaException: Kafka did not answer, or refused; some may be cut.
    """
    topics = Topics(config.topic_prefix)
    admin = AdminClient(common(config))
    consumer = committed_consumer(config, slot_group(config))
    try:
        read = [TopicPartition(topics.inbox(config.pool), 0, folded)]
        read += _read_by_slots(consumer, topics.assignments(config.pool))
        committed = [place for place in read if place.offset > 0]
        cuts = _older(consumer, committed, before) if committed else []
    finally:
        consumer.close()
    first = _first_offsets(admin, cuts)
    cuts = [cut for cut in cuts if cut.offset > first[cut.topic, cut.partition]]
    if not cuts:
        return {}
    for future in admin.delete_records(cuts, request_timeout=_TIMEOUT).values():
        future.result(_TIMEOUT)
    log().info("log.trimmed", partitions=len(cuts), inbox_offset=folded)
    return {(cut.topic, cut.partition): cut.offset for cut in cuts}


def _read_by_slots(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """The slots' committed offsets; a slot that never opened has none and is left alone."""
    partitions = consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions
    asked = [TopicPartition(topic, number) for number in partitions]
    return consumer.committed(asked, timeout=_TIMEOUT)


def _older(
    consumer: Consumer, read: Iterable[TopicPartition], before: datetime
) -> list[TopicPartition]:
    """Each place, or an earlier one: the first record that is not older than ``before``."""
    committed = {(place.topic, place.partition): place.offset for place in read}
    asked = [TopicPartition(topic, number, in_ms(before)) for topic, number in committed]
    cuts = []
    for found in consumer.offsets_for_times(asked, timeout=_TIMEOUT):
        limit = committed[found.topic, found.partition]
        younger = found.offset if found.offset >= 0 else limit  # negative: there is none
        cuts.append(TopicPartition(found.topic, found.partition, min(limit, younger)))
    return cuts


def _first_offsets(
    admin: AdminClient, places: Iterable[TopicPartition]
) -> dict[tuple[str, int], int]:
    asked = {TopicPartition(p.topic, p.partition): _EARLIEST for p in places}
    if not asked:
        return {}
    answers = admin.list_offsets(asked, request_timeout=_TIMEOUT)
    return {(p.topic, p.partition): int(f.result(_TIMEOUT).offset) for p, f in answers.items()}
