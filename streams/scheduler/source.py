"""One record of the inbox, as polled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import Message

from schemas.events import broker_time


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes, offset and broker time of an inbox record."""

    value: bytes | None
    offset: int
    at: datetime

    @classmethod
    def of(cls, message: Message) -> Source:
        """From a polled message."""
        _, timestamp_ms = message.timestamp()
        value = message.value()
        return cls(
            value if value is None else bytes(value),
            int(message.offset() or 0),
            broker_time(timestamp_ms),
        )
