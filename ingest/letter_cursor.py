"""The cursor of a list of dead letters: opaque to clients, a place in the list to us. Pure."""

from __future__ import annotations

import base64
import binascii
import struct
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from ingest.cursor import InvalidCursor

#: Broker time, offset in its partition and id of the last letter of a page.
Place = tuple[datetime, int, str]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAYOUT: Final = struct.Struct(">Bqq16s")
_VERSION: Final = 2
#: What a cursor looks like.
PATTERN: Final = f"^[A-Za-z0-9_-]{{{-(-_LAYOUT.size * 8 // 6)}}}$"


def encode(place: Place) -> str:
    """``place`` as URL-safe text."""
    at, offset, letter_id = place
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    packed = _LAYOUT.pack(_VERSION, micros, offset, uuid.UUID(letter_id).bytes)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str) -> Place:
    """The place in ``text``.

    Raises:
        InvalidCursor: it was not made by :func:`encode`.
    """
    try:
        raw = text.encode("ascii")
        packed = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        version, micros, offset, letter_id = _LAYOUT.unpack(packed)
        at = _EPOCH + timedelta(microseconds=micros)
        place = at, offset, str(uuid.UUID(bytes=letter_id))
    except (UnicodeEncodeError, binascii.Error, struct.error, OverflowError) as error:
        raise InvalidCursor("not a cursor of this service") from error
    if version != _VERSION or encode(place) != text:
        raise InvalidCursor("not a cursor of this service")
    return place
