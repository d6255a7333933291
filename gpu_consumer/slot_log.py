"""The slot's side of Kafka: its place in the log, and the transactions that move it.

Every transaction commits the slot's offset with a :class:`SlotMark`: who holds the slot, and a
number that grows by one. After an outcome that is not known, and after every new epoch, the mark
tells whether the commit happened, did not happen, or the slot has been taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.kafka import Outgoing, committed_consumer, committed_offset
from infra.settings import Settings
from infra.slots import SlotMark, slot_group, slot_transactional_id
from infra.telemetry import log
from infra.transactions import TransactionError, Transactions
from schemas.topics import Topics

#: Longer than Kafka's coordinators need to come back.
_PATIENCE: Final = 120.0
_PAUSE: Final = 0.2
_GONE: Final = KafkaError(KafkaError._NO_OFFSET, "the slot's offset is gone")  # noqa: SLF001


class FencedError(Exception):
    """The slot is someone else's now: stop the render and end the process."""


@dataclass(frozen=True, slots=True)
class Place:
    """A committed place in the slot's log."""

    offset: int
    mark: SlotMark


class SlotLog:
    """One opening of one slot. Not thread-safe; nothing here blocks for longer than its deadline.

    Attributes:
        incarnation: Names this opening in facts and marks.
        topic: The pool's assignments.
    """

    def __init__(self, settings: Settings, incarnation: str) -> None:
        self.incarnation = incarnation
        self._settings = settings
        self._slot = settings.slot
        self.topic = Topics(settings.topic_prefix).assignments(settings.pool)
        self._consumer = self._client()
        self._unanswered = False
        self._next: int | None = None
        self._transactions = Transactions(settings, slot_transactional_id(settings, settings.slot))
        self._place = Place(0, SlotMark(0, "", 0))

    @property
    def done_through(self) -> int:
        """Last assignment number whose end is committed."""
        return self._place.mark.n

    def take(self) -> None:
        """Fence whoever held the slot and learn where it stands. Commit something next.

        Raises:
            TransactionError, KafkaException: Kafka did not answer.
        """
        give_up = time.monotonic() + _PATIENCE
        while not self._taken(last=time.monotonic() > give_up):
            time.sleep(_PAUSE)

    def _taken(self, *, last: bool) -> bool:
        """Try once: a process that ended instead would have to load its model again."""
        self._reconnect_if_unanswered()
        try:
            self._transactions.renew()
            self._place = self._read()
            if self._place.mark.seq == 0:
                self._refuse_to_begin_again()
        except (TransactionError, KafkaException) as error:
            if last or error.args[0] == _GONE:
                raise
            self._unanswered = True
            log().warning("slot.not_taken", slot=self._slot, error=str(error))
            return False
        return True

    def _refuse_to_begin_again(self) -> None:
        """A slot gets its first order after its first commit: orders without one mean a loss."""
        if self._end_of_log() > 0:
            raise KafkaException(_GONE)

    def _end_of_log(self) -> int:
        """Offset of the next order; waits for a partition so new that nobody leads it yet."""
        give_up = time.monotonic() + 15.0
        while True:
            try:
                place = TopicPartition(self.topic, self._slot)
                return int(self._consumer.get_watermark_offsets(place, timeout=15.0)[1])
            except KafkaException as error:
                code = error.args[0].code()
                if code != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > give_up:
                    raise
            time.sleep(_PAUSE)

    def start_reading(self) -> None:
        """Read orders from the committed place on."""
        self._read_from(self._place.offset)

    def _read_from(self, offset: int) -> None:
        self._next = offset
        self._consumer.assign([TopicPartition(self.topic, self._slot, offset)])

    def _client(self) -> Consumer:
        return committed_consumer(self._settings, slot_group(self._settings))

    def _reconnect_if_unanswered(self) -> None:
        """A client that was not answered may never be again: take a new one."""
        if not self._unanswered:
            return
        self._consumer, self._unanswered = self._client(), False
        if self._next is not None:
            self._read_from(self._next)

    def poll(self, timeout: float) -> Message | None:
        """The next committed order, or None.

        Raises:
            KafkaException: the log cannot be read; an offset that is gone is never guessed.
        """
        self._reconnect_if_unanswered()
        message = self._consumer.poll(timeout)
        if message is None:
            return None
        if message.error() is not None:
            raise KafkaException(message.error())
        self._next = int(message.offset() or 0) + 1
        return message

    def commit(
        self,
        records: Sequence[Outgoing],
        done: int | None = None,
        offset: int | None = None,
        part: str = "gpu",
    ) -> None:
        """Commit ``records`` with the slot's place; try until it is known to be done.

        Args:
            records: What to produce.
            done: Assignment number that ends with this; None: none does.
            offset: Next order to read after a crash; None: unchanged.
            part: Names the crash points of this transaction.

        Raises:
            FencedError: the slot has been taken.
            TransactionError: Kafka was away for too long.
        """
        before = self._place
        after = Place(
            before.offset if offset is None else offset,
            SlotMark(
                before.mark.n if done is None else done, self.incarnation, before.mark.seq + 1
            ),
        )
        give_up = time.monotonic() + _PATIENCE
        while not self._try(records, before, after, part):
            if time.monotonic() > give_up:
                raise TransactionError("Kafka has been away for too long")
            time.sleep(_PAUSE)
        self._place = after
        self._transactions.discard()  # a new epoch for every transaction

    def holder(self) -> str:
        """Who holds the slot now, by its mark. May be called from another thread; blocks.

        Raises:
            KafkaException: Kafka did not answer.
        """
        return self._read(timeout=3.0).mark.holder

    def _try(self, records: Sequence[Outgoing], before: Place, after: Place, part: str) -> bool:
        self._reconnect_if_unanswered()
        try:
            if not self._transactions.usable:
                self._transactions.renew()
                found = self._read()
                if found == after:
                    return True
                if found != before:
                    raise FencedError(f"slot {self._slot} is held by {found.mark.holder}")
            position = after.mark.position(self.topic, self._slot, after.offset)
            self._transactions.commit(records, position, self._consumer, part)
        except (TransactionError, KafkaException) as error:
            log().warning("slot.commit_unknown", slot=self._slot, error=str(error))
            self._transactions.discard()
            return False
        return True

    def _read(self, timeout: float = 15.0) -> Place:
        consumer = self._consumer  # the other thread may take a new one meanwhile
        try:
            committed = committed_offset(consumer, self.topic, self._slot, timeout)
        except KafkaException:
            self._unanswered |= consumer is self._consumer
            raise
        offset = committed.offset if committed is not None else 0
        return Place(offset, SlotMark.read(committed))

    def close(self) -> None:
        """Leave without committing anything."""
        self._transactions.discard()
        self._consumer.close()
