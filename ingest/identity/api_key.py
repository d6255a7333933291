"""API keys as text: how one is made and recognised. Pure but for the randomness it is given.

    ttv_6fa4591c20be_wEJZ0n...(43 characters)1a2b3c4d

The first part names the key in lists and logs; then come 256 random bits, and last a checksum, by
which scanners for leaked keys, and this service, tell a key from a typing error. Keys of other
shapes, such as the bootstrap key, are known by their hash all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
import zlib
from collections.abc import Callable
from typing import Final

_SHAPE: Final = re.compile(r"(ttv_[0-9a-f]{12}_[A-Za-z0-9_-]{43})([0-9a-f]{8})")
_RANDOM_BYTES: Final = 32
MAX_LENGTH: Final = 512


def prefix_of(key_id: uuid.UUID) -> str:
    """How every secret of a key begins."""
    return f"ttv_{key_id.hex[:12]}"


def new_secret(key_id: uuid.UUID, draw: Callable[[int], str] = secrets.token_urlsafe) -> str:
    """A fresh secret of a key: to be shown once, and kept as its hash alone."""
    body = f"{prefix_of(key_id)}_{draw(_RANDOM_BYTES)}"
    return body + _checksum(body)


def mistyped(secret: str) -> bool:
    """Whether this has the shape of a key, but is none: no look-up is needed to refuse it."""
    shape = _SHAPE.fullmatch(secret)
    return shape is not None and not hmac.compare_digest(_checksum(shape[1]), shape[2])


def hash_of(secret: str) -> bytes:
    """SHA-256: what is stored. Enough, for a secret is random and long, not a password."""
    return hashlib.sha256(secret.encode()).digest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
