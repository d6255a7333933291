"""What the scheduler and a GPU consumer must agree on about a slot's place in Kafka.

A slot is partition n of its pool's assignments. Its transactional id and its consumer group are
derived from that number; the committed offset's metadata says what it stands for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from infra.settings import Settings
from schemas.topics import Topics


def slot_transactional_id(settings: Settings, slot: int) -> str:
    """The transactional id that whoever holds the slot writes under."""
    return f"{settings.topic_prefix}slot-{settings.pool}-{slot}"


def slot_group(settings: Settings) -> str:
    """The group in which the pool's slots commit their offsets. Nobody ever joins it."""
    return Topics(settings.topic_prefix).group(f"slots.{settings.pool}")


@dataclass(frozen=True, slots=True)
class SlotMark:
    """Metadata of a slot's committed offset.

    Attributes:
        n: Last assignment number whose end is committed.
        holder: Incarnation of the process that committed, or ``fenced``.
        seq: Counts the slot's transactions: tells whether a commit of unknown outcome happened.
    """

    n: int
    holder: str
    seq: int

    @classmethod
    def read(cls, committed: TopicPartition | None) -> SlotMark:
        """From what the group committed; a slot never opened has done nothing.

        Raises:
            ValueError: the metadata is not ours.
        """
        if committed is None:
            return cls(0, "", 0)
        try:
            fields = json.loads(committed.metadata or "")
            return cls(int(fields["n"]), str(fields["holder"]), int(fields["seq"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no slot's mark: {error}") from error

    def position(self, topic: str, slot: int, offset: int) -> TopicPartition:
        """The offset to commit, with this mark as its metadata."""
        metadata = json.dumps({"n": self.n, "holder": self.holder, "seq": self.seq})
        return TopicPartition(topic, slot, offset, metadata)
