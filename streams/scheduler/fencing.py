"""Fencing a dead slot: take its transactional id, move its offset past its work, say so.

Everything that the slot committed lies in the inbox before SlotFenced; nothing of it can follow.
"""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from infra.crash import crash_point
from infra.kafka import Outgoing, committed_consumer, committed_offset, is_end
from infra.settings import Settings
from infra.slots import SlotMark, slot_group, slot_transactional_id
from infra.telemetry import log
from infra.transactions import Transactions
from schemas.codec import Codec
from schemas.records import Assignment, PoolFact, SlotFenced
from schemas.topics import Topics
from streams.scheduler.commands import Fence

#: Seconds; the scheduler folds nothing meanwhile, and tries again with the next Tick.
_PATIENCE: Final = 10.0
#: Who holds a slot that nobody holds.
FENCED: Final = "fenced"


class AssignmentNotFoundError(Exception):
    """The log of a slot does not hold the assignment that the state says was sent."""


def fence(settings: Settings, codec: Codec, command: Fence) -> None:
    """Fence one slot. Repeating it is harmless.

    A slot that another process has opened since is left alone: its opening has fenced the one
    before, and this scheduler is behind, or was overtaken.

    Raises:
        TransactionError: not done; it is repeated with the next Tick.
        KafkaException: as above.
    """
    topics = Topics(settings.topic_prefix)
    inbox, orders = topics.inbox(settings.pool), topics.assignments(settings.pool)
    transactions = Transactions(settings, slot_transactional_id(settings, command.slot))
    consumer = committed_consumer(settings, slot_group(settings), **{"enable.partition.eof": True})
    try:
        crash_point("fence_before_init")
        transactions.renew()
        committed = committed_offset(consumer, orders, command.slot)
        offset = committed.offset if committed is not None else 0
        mark = SlotMark.read(committed)
        if mark.holder not in {command.incarnation, FENCED, ""}:
            log().warning("slot.fence_moot", slot=command.slot, holder=mark.holder)
            return
        if command.through > mark.n:
            offset = _past(consumer, codec, TopicPartition(orders, command.slot, offset), command)
        fact = PoolFact(
            kind="SlotFenced",
            slot_fenced=SlotFenced(
                slot=command.slot, incarnation=command.incarnation, through=command.through
            ),
        )
        after = SlotMark(max(mark.n, command.through, 0), FENCED, mark.seq + 1)
        transactions.commit(
            [Outgoing(inbox, codec.encode(inbox, fact), partition=0)],
            after.position(orders, command.slot, offset),
            consumer,
            "fence",
        )
    finally:
        transactions.discard()
        consumer.close()
    log().warning("slot.fenced", slot=command.slot, through=command.through)


def _past(consumer: Consumer, codec: Codec, start: TopicPartition, command: Fence) -> int:
    """The offset after assignment ``command.through``.

    Searched, not the end of the partition: a scheduler that has been overtaken must not skip what
    its successor sent.
    """
    consumer.assign([start])
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error() is not None:
            if is_end(message.error()):
                break
            raise KafkaException(message.error())
        order = codec.decode(Assignment, bytes(message.value() or b""))
        if order.kind == "Assign" and order.n == command.through:
            return int(message.offset() or 0) + 1
    raise AssignmentNotFoundError(f"slot {command.slot}, assignment {command.through}")
