"""The cursor of a list: opaque to clients, a position in (created_at, id) to us."""

from __future__ import annotations

import base64
import binascii
import struct
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT: Final = struct.Struct(">Bq16s")
_VERSION: Final = 1


class InvalidCursor(ValueError):
    """The cursor is not one this service gave: start again without it."""


class Position(NamedTuple):
    """The last row of a page: what follows is older, or as old with a smaller id."""

    created_at: datetime
    job_id: uuid.UUID


def encode(position: Position) -> str:
    """``position`` as URL-safe text."""
    micros = (position.created_at - _EPOCH) // timedelta(microseconds=1)
    packed = _LAYOUT.pack(_VERSION, micros, position.job_id.bytes)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str) -> Position:
    """The position in ``text``.

    Raises:
        InvalidCursor: it was not made by :func:`encode`.
    """
    try:
        raw = text.encode("ascii")
        packed = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        version, micros, job_id = _LAYOUT.unpack(packed)
        position = Position(_EPOCH + timedelta(microseconds=micros), uuid.UUID(bytes=job_id))
    except (UnicodeEncodeError, binascii.Error, struct.error, OverflowError) as error:
        raise InvalidCursor("not a cursor of this service") from error
    if version != _VERSION or encode(position) != text:
        raise InvalidCursor("not a cursor of this service")
    return position
