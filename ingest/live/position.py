"""The id of a streamed event: sealed text to clients, a place in the log to us. Pure.

A place in jobs.events is a vector: the last offset seen of each partition. One writer a partition
commits offsets in order, so what a vector covers is complete: no row of a later commit lies below
it, and any replica can go on where another stopped. Offsets count every tenant's events, so the
vector is encrypted and bound to its tenant: an id says nothing, and a changed one is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

#: Longest id that is looked at: 255 partitions' worth.
MAX_ID: Final = 4096
_VERSION: Final = 1


class InvalidPosition(ValueError):
    """The id is not one that this service gave to this tenant: start again without it."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a client has seen.

    Attributes:
        seen: The last offset seen, by partition; of other partitions none.
        mark: Of the last progress report seen, see ``frames.progress_mark``; 0: none.
    """

    seen: Mapping[int, int] = field(default_factory=dict)
    mark: int = 0

    def covers(self, partition: int, offset: int) -> bool:
        """Whether the event at that place was seen."""
        return offset <= self.seen.get(partition, -1)


class Seal:
    """Makes and reads ids with a secret that all replicas share.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    def encode(self, tenant_id: str, seen: Mapping[int, int], mark: int = 0) -> str:
        """The id of a place, for one tenant: the same place gives the same id."""
        plain = bytearray([_VERSION])
        for number in (mark, *(n for pair in sorted(seen.items()) for n in pair)):
            _put(plain, number)
        sealed = self._cipher.encrypt(bytes(plain), [tenant_id.encode()])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def decode(self, tenant_id: str, text: str) -> Position:
        """The place in an id.

        Raises:
            InvalidPosition: it was not made by :meth:`encode` for this tenant.
        """
        if len(text) > MAX_ID:
            raise InvalidPosition("not an id of this stream")
        try:
            raw = text.encode("ascii")
            sealed = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(sealed, [tenant_id.encode()])
        except (UnicodeEncodeError, binascii.Error, InvalidTag, ValueError) as error:
            raise InvalidPosition("not an id of this stream") from error
        if plain[0] != _VERSION:
            raise InvalidPosition("an id of another version of this stream")
        mark, *pairs = _numbers(plain[1:])
        return Position(dict(zip(pairs[::2], pairs[1::2], strict=True)), mark)


def _put(out: bytearray, number: int) -> None:
    """Append seven bits a byte, the lowest first; the last byte's high bit is unset."""
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _numbers(data: bytes) -> list[int]:
    found, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(number)
            number, shift = 0, 0
    return found
