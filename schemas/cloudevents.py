"""CloudEvents attributes as Kafka headers: what a record is, without reading its value. Pure.

Binary content mode of the Kafka protocol binding for CloudEvents 1.0.2 (cloudevents.io): each
attribute is a header ``ce_NAME`` in UTF-8, the format of the value is ``content-type``. A record
that is written again, by a retry or on the completion feed, has the same ``ce_source`` and
``ce_id``, which is how a CloudEvents consumer knows a duplicate. Nothing here comes from a prompt.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Final

from schemas.job import event_id
from schemas.records import JobEvent, JobRequested

Attributes = list[tuple[str, bytes]]

SPECVERSION: Final = "1.0"
#: Avro, in the framing of the topics: see schemas/codec.py.
CONTENT_TYPE: Final = "application/avro"
#: Every header that these functions write, with its meaning: documents are made from it.
HEADERS: Final[dict[str, str]] = {
    "ce_specversion": f"Version of CloudEvents: {SPECVERSION}.",
    "ce_id": "Id of the event: the same if it is ever written again.",
    "ce_source": "Who says so: urn:ttv:pool:NAME, or urn:ttv:ingest for a request over HTTP.",
    "ce_type": "ttv.job. and the kind in lower case, as ttv.job.completed.",
    "ce_time": "When it happened, RFC 3339 in UTC; a request has the broker's time alone.",
    "ce_subject": "Id of the job.",
    "content-type": f"{CONTENT_TYPE}, in the framing of every value.",
}
_FIXED: Final[Attributes] = [
    ("ce_specversion", SPECVERSION.encode()),
    ("content-type", CONTENT_TYPE.encode()),
]


def of_event(event: JobEvent) -> Attributes:
    """The attributes of a job event, on jobs.events and jobs.completed alike."""
    return [
        *_FIXED,
        ("ce_id", event.event_id.encode()),
        ("ce_source", _pool(event.pool)),
        ("ce_type", _type(event.kind)),
        ("ce_time", _time(event.occurred_at)),
        ("ce_subject", event.job_id.encode()),
    ]


def of_request(request: JobRequested) -> Attributes:
    """The attributes of a request whose job id is known; none where it is not.

    The relay sends a request again with the same id.
    """
    if request.job_id is None:
        return []
    return [
        *_FIXED,
        ("ce_id", event_id(request.job_id, "Requested", 0).encode()),
        ("ce_source", b"urn:ttv:ingest"),
        ("ce_type", _type("Requested")),
        ("ce_subject", request.job_id.encode()),
    ]


@functools.cache
def _type(kind: str) -> bytes:
    return f"ttv.job.{kind.lower()}".encode()


@functools.lru_cache(maxsize=64)
def _pool(name: str) -> bytes:
    return f"urn:ttv:pool:{name}".encode()


def _time(at: datetime) -> bytes:
    text = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").encode()
