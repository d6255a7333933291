"""Records of a topic, with their keys and headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from confluent_kafka import Message

from schemas.codec import codec
from schemas.records import Record
from tests.integration.ingest.edge_stack import EdgeStack
from tests.support.feeds import read_messages

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
    return [
        Read(
            decode(model, bytes(message.value() or b"")),
            message.key(),
            int(message.partition() or 0),
            _headers(message),
        )
        for message in read_messages(edge.settings, topic, seconds)
        if message.value()
    ]
