"""Whether a record's tenant is the one that it names. Pure.

The field ``tenant_id`` is written by whoever produces. What vouches for it is one of

- the header ``ttv-producer`` (schemas/producers.py), which only the tenant's key makes;
- the topic: a tenant's own is written by that tenant alone, and the shared ones by ingest alone,
  which Kafka's ACLs must see to;
- nothing, where the deployment says that it trusts all who may produce.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from infra.telemetry import Headers
from schemas.events import broker_time
from schemas.producers import HEADER, MAX_LIFE, OWN_LIFE, NotProven, key_of, proven, token
from schemas.reasons import REASONS
from schemas.records import Reason
from schemas.topics import Topics
from streams.incoming import Incoming


@dataclass(frozen=True, slots=True)
class Distrusted:
    """Why a record is not taken for its tenant's.

    Attributes:
        why: The reason.
        tenant_id: Who did send it, if that is known.
    """

    why: Reason
    tenant_id: str | None


class Trust(Protocol):
    """What vouches for a record's tenant."""

    def objection(self, record: Incoming, tenant_id: str, job_id: str | None) -> Distrusted | None:
        """Why ``record`` is not of the tenant that it names; None: it is."""

    def forwarded(self, record: Incoming, tenant_id: str, at: datetime) -> Headers:
        """What vouches for the record, found to be its tenant's, once it is moved at ``at``."""


class TrustsField:
    """Believes every record."""

    def objection(self, record: Incoming, tenant_id: str, job_id: str | None) -> Distrusted | None:
        """None."""
        del record, tenant_id, job_id
        return None

    def forwarded(self, record: Incoming, tenant_id: str, at: datetime) -> Headers:
        """Nothing."""
        del record, tenant_id, at
        return []


class TrustsTopic:
    """Believes a shared topic, and of a tenant's own topic its name."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def objection(self, record: Incoming, tenant_id: str, job_id: str | None) -> Distrusted | None:
        """A conflict when the topic is another tenant's."""
        del job_id
        source = self._topics.source(record.topic)
        if source is None:
            return Distrusted(_reason("unauthenticated_producer", "It lies in no topic"), None)
        if source.tenant_id in (None, tenant_id):
            return None
        return _conflict(source.tenant_id)

    def forwarded(self, record: Incoming, tenant_id: str, at: datetime) -> Headers:
        """Nothing: it stays in its topic."""
        del record, tenant_id, at
        return []


class TrustsHeader:
    """Believes what a tenant's key has signed.

    Args:
        secrets: From which tenants' keys are made; the first one signs.
        dedupe_window: How long ended jobs are remembered: no header may outlive that.
    """

    def __init__(self, secrets: Sequence[bytes], dedupe_window: timedelta) -> None:
        self._secrets = tuple(secrets)
        self._most = min(MAX_LIFE, dedupe_window)

    def objection(self, record: Incoming, tenant_id: str, job_id: str | None) -> Distrusted | None:
        """Not signed, by another tenant, or a request that could be another job when repeated."""
        at = broker_time(record.timestamp_ms)
        try:
            sender = proven(
                record.header(HEADER), record.topic, record.value, self._secrets, (at, self._most)
            )
        except NotProven as error:
            return Distrusted(_reason("unauthenticated_producer", str(error)), None)
        if sender != tenant_id:
            return _conflict(sender)
        if job_id is None:
            return Distrusted(_reason("invalid_request", "job_id: required: It is signed"), sender)
        return None

    def forwarded(self, record: Incoming, tenant_id: str, at: datetime) -> Headers:
        """A new header: the one that it has may expire before it is read again."""
        life = min(OWN_LIFE, self._most / 2)
        key = key_of(self._secrets[0], tenant_id)
        return [(HEADER, token(key, tenant_id, record.topic, record.value, at + life))]


def _conflict(sender: str | None) -> Distrusted:
    return Distrusted(_reason("tenant_conflict", REASONS["tenant_conflict"].title), sender)


def _reason(code: str, what: str) -> Reason:
    return Reason(code=code, message=f"{what}. {REASONS[code].remedy}")
