"""A record as it lies in Kafka, and what the rest of the log may be told about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from infra.telemetry import Headers
from schemas.records import DeadLetter


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record as it lies in Kafka.

    Attributes:
        timestamp_ms: Broker time of the append, milliseconds since the epoch.
        headers: In order; a value may be missing, a name may repeat.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)

    def kept_headers(self) -> Headers:
        """The headers as they can be sent on; a missing value becomes an empty one."""
        return [(name, value or b"") for name, value in self.headers]

    def header(self, name: str) -> bytes | None:
        """The last value of header ``name``."""
        found = [value for key, value in self.headers if key == name]
        return found[-1] if found else None


def dead_letter(
    record: Incoming,
    *,
    code: str,
    error_class: str,
    reason: str,
    at: datetime,
    tenant_id: str | None = None,
    job_id: str | None = None,
) -> DeadLetter:
    """A letter that holds ``record`` byte for byte and why it was given up.

    Args:
        record: What could not be used.
        code: Of the catalogue of reasons.
        error_class: retryable, retryable_elsewhere, permanent or conflict.
        reason: One sentence, without anything the record holds.
        at: When it was given up.
        tenant_id: Owner, if it could be read and is valid.
        job_id: Job, likewise.
    """
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=dict(record.kept_headers()),
        error_class=error_class,
        code=code,
        reason=reason,
        attempts=1,
        tenant_id=tenant_id,
        job_id=job_id,
        occurred_at=at,
    )
