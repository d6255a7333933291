"""How a record on Kafka proves which tenant sent it: the header ``ttv-producer``. Pure.

The header reads ``TENANT.EXPIRES.MAC``: EXPIRES in seconds since the epoch, MAC the lower-case hex
HMAC-SHA256, under the tenant's key, of

    "ttv-producer-v1" NUL tenant NUL expires NUL topic NUL SHA-256(value)

So a header is worth nothing on another record, in another topic or after its time. The record
itself may be sent again by whoever could read it, and is then the same job: a signed request names
its ``job_id``, and no header lives longer than the scheduler remembers one.

A tenant's key is HMAC-SHA256(secret, "ttv-producer-key" NUL tenant): the service keeps one secret
and no table. A key is revoked by rotating the secret, for all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

HEADER: Final = "ttv-producer"
#: The longest that a header may live; less where the dedupe window is shorter.
MAX_LIFE: Final = timedelta(hours=24)
#: What this service gives its own: half of it, so that clocks may differ either way.
OWN_LIFE: Final = timedelta(hours=12)

_TOKEN: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.([0-9]{1,12})\.([0-9a-f]{64})")


class NotProven(Exception):
    """The record does not prove who sent it; the message says why, and quotes nothing."""


def key_of(secret: bytes, tenant_id: str) -> bytes:
    """The key that a tenant's producers sign with (32 bytes)."""
    return hmac.digest(secret, f"ttv-producer-key\x00{tenant_id}".encode(), "sha256")


def token(
    key: bytes, tenant_id: str, topic: str, value: bytes | None, expires_at: datetime
) -> bytes:
    """The header's value for one record.

    Args:
        key: The tenant's.
        tenant_id: Who sends it.
        topic: Where to.
        value: The record's value, as it goes on the wire.
        expires_at: By the broker's clock.
    """
    expires = int(expires_at.timestamp())
    mac = _mac(key, tenant_id, expires, topic, value)
    return f"{tenant_id}.{expires}.{mac}".encode()


def proven(
    header: bytes | None,
    topic: str,
    value: bytes | None,
    secrets: Sequence[bytes],
    at: tuple[datetime, timedelta] | None,
) -> str:
    """The tenant that a record proves to come from.

    Args:
        header: The value of ``ttv-producer``.
        topic: Where the record lies.
        value: Its value.
        secrets: Any of them may have made the tenant's key.
        at: When it was written by the broker's clock, and how far ahead a header may expire;
            None: its time is not judged.

    Raises:
        NotProven: the reason.
    """
    match = _TOKEN.fullmatch(header or b"")
    if match is None:
        raise NotProven(f"it has no {HEADER} header of the form TENANT.EXPIRES.MAC")
    tenant_id, expires, given = match[1].decode(), int(match[2]), match[3].decode()
    macs = [_mac(key_of(one, tenant_id), tenant_id, expires, topic, value) for one in secrets]
    if not any(hmac.compare_digest(given, mac) for mac in macs):
        raise NotProven(f"its {HEADER} header was not made for this record, or with another key")
    if at is not None:
        left = expires - at[0].timestamp()
        if left < 0:
            raise NotProven(f"its {HEADER} header had expired")
        if left > at[1].total_seconds():
            raise NotProven(f"its {HEADER} header may live {at[1].total_seconds():g} s at most")
    return tenant_id


def _mac(key: bytes, tenant_id: str, expires: int, topic: str, value: bytes | None) -> str:
    said = f"ttv-producer-v1\x00{tenant_id}\x00{expires}\x00{topic}\x00".encode()
    return hmac.new(key, said + hashlib.sha256(value or b"").digest(), "sha256").hexdigest()
