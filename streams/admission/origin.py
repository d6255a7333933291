"""Where a request first lay, and the job id that this place stands for. Pure.

Admission forwards a misplaced request to its tenant's partition and says in a header where it came
from, so that a request without a job id keeps the id it would have had. Headers come from anyone.
What a forged one can do:

- ``ttv-origin`` naming another tenant's record: nothing. The derived id holds the tenant of the
  record itself, so an origin only ever names a job of one's own tenant.
- ``ttv-origin`` that repeats one's own: the request counts as a repeat or a conflict of one's own.
- ``ttv-forwarded`` on a misplaced record: it is judged where it lies. With several admission
  processes its tenant then has a rate limit in each; what must hold exactly is held by the fold.
"""

from __future__ import annotations

import re
import uuid
from typing import Final, NamedTuple

from infra.telemetry import Headers
from schemas.job import NAMESPACE
from streams.incoming import Incoming

FORWARDED: Final = "ttv-forwarded"
ORIGIN: Final = "ttv-origin"
_ORIGIN: Final = re.compile(rb"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})")


class Origin(NamedTuple):
    """Coordinates of a record."""

    topic: str
    partition: int
    offset: int


def was_forwarded(record: Incoming) -> bool:
    """Whether the record says that it was moved already: it is not moved again."""
    return record.header(FORWARDED) is not None


def origin_of(record: Incoming) -> Origin:
    """Where the request first lay; a malformed or lone header counts for nothing."""
    if was_forwarded(record):
        match = _ORIGIN.fullmatch(record.header(ORIGIN) or b"")
        if match is not None:
            topic, partition, offset = match.groups()
            return Origin(topic.decode("ascii"), int(partition), int(offset))
    return Origin(record.topic, record.partition, record.offset)


def derived_job_id(tenant_id: str, origin: Origin) -> str:
    """The job id of a request that brings none: the same however often it is read or moved."""
    place = f"record\x00{tenant_id}\x00{origin.topic}\x00{origin.partition}\x00{origin.offset}"
    return str(uuid.uuid5(NAMESPACE, place))


def forwarding_headers(record: Incoming, vouched: Headers) -> Headers:
    """The record's own headers, where it came from, and what vouches for it there."""
    own = {FORWARDED, ORIGIN, *(name for name, _ in vouched)}
    kept = [pair for pair in record.kept_headers() if pair[0] not in own]
    place = f"{record.topic}/{record.partition}/{record.offset}".encode()
    return [*kept, (FORWARDED, b"1"), (ORIGIN, place), *vouched]
