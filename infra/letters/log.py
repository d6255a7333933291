"""Reading jobs.dlq from Kafka, within bounds, and finding what became of a redrive."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from infra.kafka import committed_consumer, is_end
from infra.settings import Settings
from schemas.codec import Codec
from schemas.errors import CodecError, RegistryUnavailable
from schemas.records import DeadLetter, JobEvent
from schemas.topics import Topics

_METADATA_DEADLINE: Final = 10.0
#: A broker that does not answer is told once, by an error, and not by the client's own log.
QUIET: Final = {"log_level": 0}


class LettersError(Exception):
    """Letters cannot be read or redriven; the message says why, and what can be done."""


class LogError(LettersError):
    """A topic cannot be read."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A record of jobs.dlq.

    Attributes:
        letter: The letter, or why the record is none.
        partition: Where it lies.
        offset: Where it lies.
        at: Broker time at which it was written.
    """

    letter: DeadLetter | CodecError
    partition: int
    offset: int
    at: datetime


class LetterLog:
    """Reads committed records, without a group: it leaves no trace and disturbs nobody."""

    def __init__(self, settings: Settings, codec: Codec, deadline: float = 60.0) -> None:
        """Connects when it is read. ``deadline``: seconds that one reading may take."""
        self._settings = settings
        self._codec = codec
        self._topics = Topics(settings.topic_prefix)
        self._deadline = deadline

    def letters(self, since: datetime) -> Iterator[Placed]:
        """Every letter written since then, in the order of each partition.

        Raises:
            LogError: Kafka or the registry does not answer, or reading took too long.
        """
        for message in self._read(self._topics.dlq, since):
            yield Placed(
                self._letter(message),
                int(message.partition() or 0),
                int(message.offset() or 0),
                datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC),
            )

    def ends(self, job_ids: Collection[str], since: datetime) -> dict[str, str]:
        """The terminal kind of each of these jobs that ended since then and is still told of.

        Raises:
            LogError: as above.
        """
        wanted, found = {job_id.encode() for job_id in job_ids}, {}
        for message in self._read(self._topics.completed, since):
            if message.key() in wanted:
                try:
                    event = self._codec.decode(JobEvent, _value(message))
                except RegistryUnavailable as error:
                    raise LogError(f"the schema registry does not answer: {error}") from error
                except CodecError:
                    continue
                found[event.job_id] = event.kind
        return found

    def _letter(self, message: Message) -> DeadLetter | CodecError:
        try:
            return self._codec.decode(DeadLetter, _value(message))
        except RegistryUnavailable as error:
            raise LogError(f"the schema registry does not answer: {error}") from error
        except CodecError as error:
            return error

    def _read(self, topic: str, since: datetime) -> Iterator[Message]:
        consumer = committed_consumer(
            self._settings,
            self._topics.group("letters"),
            **{"enable.partition.eof": True, "auto.offset.reset": "earliest", **QUIET},
        )
        try:
            yield from self._to_the_end(consumer, topic, since)
        except KafkaException as error:
            raise LogError(
                f"Kafka at {self._settings.kafka} does not give {topic}: {error.args[0].str()}"
            ) from error
        finally:
            consumer.close()

    def _to_the_end(self, consumer: Consumer, topic: str, since: datetime) -> Iterator[Message]:
        patience = min(_METADATA_DEADLINE, max(self._deadline, 1.0))
        known = consumer.list_topics(topic, timeout=patience).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        at = max(0, int(since.timestamp() * 1000))
        asked = [TopicPartition(topic, number, at) for number in known.partitions]
        # A partition without a record since then answers with its end.
        consumer.assign(consumer.offsets_for_times(asked, timeout=patience))
        left = set(known.partitions)
        until = time.monotonic() + self._deadline
        while left:
            if time.monotonic() > until:
                raise LogError(
                    f"{topic} was not read to its end in {self._deadline:g} s: "
                    "narrow it with --since, or allow --timeout"
                )
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if is_end(error):
                left.discard(int(message.partition() or 0))
            elif error is not None:
                raise KafkaException(error)
            else:
                yield message


def _value(message: Message) -> bytes | None:
    value = message.value()
    return bytes(value) if value is not None else None
