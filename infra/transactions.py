"""The discipline of a Kafka transaction: records and an input offset, together or not at all.

One implementation for the scheduler and the GPU slots. What makes it hold:

- A producer is an epoch. :meth:`Transactions.renew` throws the old one away and initialises a new
  one, which fences whoever held the transactional id and ends what they left open.
- After an error, a timeout, or a disconnect that the client logged since the transaction began, a
  producer is never used again: librdkafka re-sends EndTxn silently, and a late one would end the
  next transaction of the same epoch.
- Nothing is aborted by hand: aborting while the first produce is in flight is fatal in librdkafka,
  and the next ``init_transactions`` does it anyway.
- Every call has a deadline. ``send_offsets_to_transaction`` can outlast its own, so a transaction
  runs in a thread of its own, which is left behind with its producer when it does not return: what
  is unknown then is settled, as after any error, by the next ``init_transactions``.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from infra.crash import crash_point
from infra.kafka import PARTITIONER, Outgoing, common
from infra.settings import Settings
from infra.telemetry import log
from schemas.topics import Topics

_EXIT_STUCK: Final = 70
#: Threads that may be left behind at a time.
_MOST_LEFT: Final = 8
_left_behind: list[threading.Thread] = []


class TransactionError(Exception):
    """The transaction is not known to be committed: renew, then read the committed offset."""


class Transactions:
    """Commits under one transactional id. Not thread-safe.

    Attributes:
        usable: Whether the current producer may begin another transaction.
    """

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        self._settings = settings
        self._id = transactional_id
        self._timeout = settings.transaction_timeout
        self._producer: Producer | None = None
        self._ear = _DisconnectEar()

    @property
    def usable(self) -> bool:
        """False before :meth:`renew` and after anything that could leave a late EndTxn behind.

        A connection lost between transactions counts: librdkafka logs the same error of a
        connection once in 30 s, so the next loss could go unheard.
        """
        if self._producer is not None:
            self._producer.poll(0)
            if self._ear.heard:
                log().warning("transaction.disconnect_heard", transactional_id=self._id)
                self.discard()
        return self._producer is not None

    def renew(self) -> None:
        """Start a new epoch: fence the holder of the id and settle its open transaction.

        Raises:
            TransactionError: Kafka did not answer in time; call again or give up.
        """
        self.discard()
        self._ear = _DisconnectEar()
        config: dict[str, Any] = common(self._settings) | {
            "transactional.id": self._id,
            "transaction.timeout.ms": int(self._timeout * 1000),
            "linger.ms": 0,
            "partitioner": PARTITIONER,
            "message.max.bytes": 3 * 1024 * 1024,
            "log.connection.close": True,
            # A re-bootstrap forgets the coordinator, and the next transaction hangs for ever.
            "metadata.recovery.strategy": "none",
            "reconnect.backoff.ms": 20,  # half of it passes before the broker is connected to
        }
        producer = Producer(config, logger=self._ear.logger)
        inbox = Topics(self._settings.topic_prefix).inbox(self._settings.pool)

        def initialise() -> Iterator[None]:
            # The first answer has librdkafka drop the bootstrap connection and the search for the
            # coordinator with it, to begin again after 500 ms; the second comes from the broker
            # itself, whose connection stays.
            for _ in range(2):
                producer.list_topics(inbox, self._timeout)
                yield
            producer.init_transactions(self._timeout * 2)

        _within_deadline("init_transactions", self._timeout * 5, initialise())
        self._producer = producer

    def discard(self) -> None:
        """Never use the current producer again; its open transaction is ended by the next one."""
        self._producer = None

    def commit(
        self,
        records: Iterable[Outgoing],
        offset: TopicPartition,
        consumer: Consumer,
        part: str = "",
    ) -> None:
        """Commit ``records`` and the input ``offset`` of ``consumer``'s group in one transaction.

        Args:
            records: What to produce.
            offset: Next offset to read, with metadata if wanted.
            consumer: Whose group metadata fences the commit.
            part: Whose transaction it is, to name its crash points: ``PART_before_send_offsets``
                (the broker has all records), ``PART_before_commit`` (and the offset),
                ``PART_after_commit``.

        Raises:
            TransactionError: not known to be committed; the producer has been discarded.
        """
        producer = self._producer
        if producer is None:
            raise TransactionError("renew() first")
        self._producer = None  # until it is known to be committed

        def transact() -> Iterator[None]:
            failures: list[KafkaError] = []
            producer.begin_transaction()
            for record in records:
                _produce(producer, record, failures)
            yield
            crash_point(f"{part}_before_send_offsets", first=producer.flush)
            producer.send_offsets_to_transaction(
                [offset], consumer.consumer_group_metadata(), self._timeout
            )
            yield
            crash_point(f"{part}_before_commit", first=producer.flush)
            producer.commit_transaction(self._timeout)
            if failures:
                raise KafkaException(failures[0])

        _within_deadline("transaction", self._timeout * 3, transact())
        self._producer = producer
        crash_point(f"{part}_after_commit")


def _within_deadline(what: str, seconds: float, steps: Iterator[None]) -> None:
    """Take all ``steps``; a thread in which one takes too long is left behind, at that step.

    Ends the process when too many have been: whatever they wait for does not come, and each holds
    a client.
    """
    outcome: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    left = threading.Event()

    def run() -> None:
        try:
            for _ in steps:
                if left.is_set():
                    return
            outcome.put(None)
        except BaseException as error:  # noqa: BLE001 raised below, in the caller's thread
            outcome.put(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    try:
        error = outcome.get(timeout=seconds)
    except queue.Empty:
        left.set()
        log().error("transaction.stuck", what=what, seconds=seconds)
        _left_behind[:] = [one for one in (*_left_behind, thread) if one.is_alive()]
        if len(_left_behind) > _MOST_LEFT:
            os._exit(_EXIT_STUCK)
        raise TransactionError(f"{what} has not returned for {seconds:g} s") from None
    try:
        if isinstance(error, KafkaException):
            raise _told(error) from error
        if error is not None:
            raise error
    finally:
        del error  # with its traceback it would keep the producer alive


def _produce(producer: Producer, record: Outgoing, failures: list[KafkaError]) -> None:
    def on_delivery(error: KafkaError | None, _: Any) -> None:
        if error is not None:
            failures.append(error)

    while True:
        try:
            record.produce_to(producer, on_delivery=on_delivery)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def _told(error: KafkaException) -> TransactionError:
    cause = error.args[0]
    return TransactionError(f"{cause.name()}: {cause.str()}")


class _DisconnectEar:
    """Listens to librdkafka's log for lost connections."""

    def __init__(self) -> None:
        self.heard = False
        # A logger of its own, outside the process's tree: it listens, and prints nothing.
        self.logger = logging.Logger("librdkafka", logging.DEBUG)  # noqa: LOG001
        handler = logging.Handler()
        handler.emit = self._emit  # type: ignore[method-assign]
        self.logger.addHandler(handler)

    def _emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().lower()
        if "disconnect" in text or "timed out" in text or "connection" in text:
            self.heard = True
