"""The lines between a renderer and its child: one JSON object a line, bounded in length. Pure.

Down: load, render, checkpoint, cancel. Up: ready, refused, phase, step, alive, checkpointed,
rendered, cancelled, failed. ``run`` numbers the jobs of one renderer, so that a late message cannot
touch the next job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

#: Longest line, newline included: two prompts of 8 KiB, each byte escaped as \\u00XX, and room.
MAX_LINE: Final = 256 * 1024


class ProtocolError(Exception):
    """The other side sent something that is not a message."""


class LineReader:
    """Cuts a byte stream into messages."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that ``data`` completes.

        Raises:
            ProtocolError: a line is too long or no JSON object with a ``kind``.
        """
        self._rest += data
        while (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            yield self._message(line)
        if len(self._rest) >= self._limit:
            raise ProtocolError(f"a line longer than {self._limit} bytes")

    def _message(self, line: bytes) -> dict[str, Any]:
        if len(line) >= self._limit:
            raise ProtocolError(f"a line longer than {self._limit} bytes")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            # The bytes may hold anything, a prompt too: they are not quoted.
            raise ProtocolError("a line that is not JSON") from None
        if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
            raise ProtocolError("a line that is not a message")
        return message


def pack(kind: str, fields: Mapping[str, Any]) -> bytes:
    """One line.

    Raises:
        ValueError: the line would exceed ``MAX_LINE``.
    """
    line = json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE:
        raise ValueError(f"a message of {len(line)} bytes; at most {MAX_LINE}")
    return line


def text(message: Mapping[str, Any], name: str, limit: int = 4096) -> str:
    """The string ``name``.

    Raises:
        ProtocolError: it is missing, no string, or too long.
    """
    value = message.get(name)
    if not isinstance(value, str) or len(value) > limit:
        raise ProtocolError(f"a message with a wrong {name}")
    return value


def count(message: Mapping[str, Any], name: str) -> int:
    """The integer ``name``, not negative.

    Raises:
        ProtocolError: it is anything else.
    """
    value = message.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProtocolError(f"a message with a wrong {name}")
    return value


def number(message: Mapping[str, Any], name: str) -> float:
    """The number ``name``, finite and not negative.

    Raises:
        ProtocolError: it is anything else.
    """
    value = message.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
        raise ProtocolError(f"a message with a wrong {name}")
    return float(value)
