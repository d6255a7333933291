"""The cursor of a list: opaque to clients, a position in (created_at, id) to us.

A digest binds it to the tenant and to the filters that it was given for: with others it would skip
jobs without a word. It is no secret and needs none: the tenant comes from the caller's key, so
a forged position opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGEST: Final = 12
_LAYOUT: Final = struct.Struct(f">Bq16s{_DIGEST}s")
_VERSION: Final = 2
#: Characters in a cursor.
LENGTH: Final = -(-_LAYOUT.size * 8 // 6)
#: What a cursor looks like.
PATTERN: Final = f"^[A-Za-z0-9_-]{{{LENGTH}}}$"


class InvalidCursor(ValueError):
    """The cursor is not one this service gave for this list: start again without it."""


class Position(NamedTuple):
    """The last row of a page: what follows comes after it in the list's order."""

    created_at: datetime
    job_id: uuid.UUID


def encode(position: Position, of: str) -> str:
    """``position`` as URL-safe text.

    Args:
        position: Where the page ends.
        of: What the list is of: the tenant and its filters, in one form.
    """
    micros = (position.created_at - _EPOCH) // timedelta(microseconds=1)
    digest = _digest(micros, position.job_id, of)
    packed = _LAYOUT.pack(_VERSION, micros, position.job_id.bytes, digest)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str, of: str) -> Position:
    """The position in ``text``.

    Raises:
        InvalidCursor: it was not made by :func:`encode`, or not for ``of``.
    """
    try:
        raw = text.encode("ascii")
        packed = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        _, micros, job_id, _ = _LAYOUT.unpack(packed)
        position = Position(_EPOCH + timedelta(microseconds=micros), uuid.UUID(bytes=job_id))
    except (UnicodeEncodeError, binascii.Error, struct.error, OverflowError) as error:
        raise InvalidCursor("not a cursor of this service") from error
    if encode(position, of) != text:
        raise InvalidCursor("not a cursor of this list, with these filters")
    return position


def _digest(micros: int, job_id: uuid.UUID, of: str) -> bytes:
    named = f"{micros}\x00{job_id}\x00{of}".encode()
    return hashlib.blake2b(named, digest_size=_DIGEST, person=b"ttv cursor").digest()
