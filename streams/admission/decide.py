"""What admission decides about one record. Pure but for the limiter's state.

Order: tenant, age, place, pool, rules, block list, rate. A refusal is a fact for the scheduler,
which alone may end a job, and a dead letter, which keeps the bytes. Where no event could be keyed
(no valid tenant or job id, no such pool), or the tenant is not proven, there is the letter alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aiokafka.partitioner import murmur2

from infra.telemetry import Headers
from schemas.errors import CodecError
from schemas.events import broker_time
from schemas.job import (
    DEFAULT_POOL,
    Violation,
    canonical_job_id,
    spec_digest,
    spec_of,
    valid_tenant,
    violations,
)
from schemas.reasons import REASONS
from schemas.records import (
    CancelRequested,
    DeadLetter,
    Job,
    JobRequested,
    PoolFact,
    Reason,
    Refusal,
)
from streams.admission.origin import derived_job_id, forwarding_headers, origin_of, was_forwarded
from streams.admission.trust import Distrusted, Trust
from streams.incoming import Incoming, dead_letter
from streams.rate_limit import RateLimiter

#: Violations after which no event can be keyed.
_NAMELESS: Final = frozenset({"tenant_id", "job_id"})
_MAX_MESSAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Fact:
    """``fact`` goes to the inbox of ``pool``."""

    pool: str
    fact: PoolFact


@dataclass(frozen=True, slots=True)
class Letter:
    """``letter`` goes to jobs.dlq under the original key."""

    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Forward:
    """The record goes to ``partition`` of its topic, unchanged but for its key and ``headers``."""

    partition: int
    key: bytes
    headers: Headers


Effect = Fact | Letter | Forward


@dataclass(frozen=True, slots=True)
class Moment:
    """What surrounds a decision.

    Attributes:
        now: This process's time: only the age of a record is measured with it.
        partitions: Partitions of the record's topic.
        traceparent: Trace context that travels on with the job.
    """

    now: datetime
    partitions: int
    traceparent: str | None


def partition_of(tenant_id: str, partitions: int) -> int:
    """The partition of a tenant's requests: murmur2 of its id, as the Java client has it."""
    positive: int = murmur2(tenant_id.encode()) & 0x7FFFFFFF
    return positive % partitions


def unreadable(record: Incoming, error: CodecError, now: datetime) -> list[Effect]:
    """What becomes of a record that is none: a letter, and nothing else."""
    letter = dead_letter(
        record,
        code=error.code,
        error_class=error.failure_class,
        reason=f"{REASONS[error.code].title}: {error}"[:_MAX_MESSAGE],
        at=now,
    )
    return [Letter(letter)]


class Admission:
    """The rules, with the limiter that is their only state.

    Args:
        pools: Pools that have an inbox.
        dedupe_window: Requests older than this are refused.
        limiter: Counts what is admitted.
        priority_of: Priority of a requests topic.
        is_blocked: Whether one of a request's prompts must not be rendered.
        trust: What vouches for a record's tenant.
    """

    def __init__(
        self,
        pools: Collection[str],
        dedupe_window: timedelta,
        limiter: RateLimiter,
        priority_of: Callable[[str], str],
        is_blocked: Callable[[str | None, str | None], bool],
        trust: Trust,
    ) -> None:
        self._pools = frozenset(pools)
        self._window = dedupe_window
        self._limiter = limiter
        self._priority_of = priority_of
        self._is_blocked = is_blocked
        self._trust = trust

    def request(self, record: Incoming, request: JobRequested, moment: Moment) -> list[Effect]:
        """What to do about one request.

        Args:
            record: Where it lies.
            request: What it says.
            moment: What surrounds the decision.
        """
        distrusted = self._trust.objection(record, request.tenant_id, request.job_id)
        if distrusted is not None:
            return [_not_theirs(record, moment, distrusted)]
        at = broker_time(record.timestamp_ms)
        broken = violations(request, at)
        nameless = [one for one in broken if one.field in _NAMELESS]
        if nameless:
            return [_letter(record, moment, _invalid(nameless), request.tenant_id)]
        known = _Known(record, request, self._priority_of(record.topic), moment, broken)
        if moment.now - at > self._window:
            return known.because(_reason("too_old"), self._pools)
        owner = request.tenant_id
        right = partition_of(owner, moment.partitions)
        if record.partition != right and not was_forwarded(record):
            vouched = self._trust.forwarded(record, owner, moment.now)
            return [Forward(right, owner.encode(), forwarding_headers(record, vouched))]
        why = self._objection(record, known, broken)
        if why is not None:
            return known.because(why, self._pools)
        job = _job(request, known)
        return [Fact(job.pool, PoolFact(kind="Admitted", admitted=job))]

    def _objection(self, record: Incoming, known: _Known, broken: list[Violation]) -> Reason | None:
        if known.pool not in self._pools:
            return _reason("unknown_pool")
        if broken:
            return _invalid(broken)
        if self._is_blocked(known.request.prompt, known.request.negative_prompt):
            return _reason("prompt_blocked")
        owner = known.request.tenant_id
        if not self._limiter.admit(owner, record.topic, record.timestamp_ms):
            return _reason("rate_limited")
        return None

    def cancel(self, record: Incoming, cancel: CancelRequested, moment: Moment) -> list[Effect]:
        """What to do about a wish to cancel: pass it on, or keep it as a letter."""
        distrusted = self._trust.objection(record, cancel.tenant_id, cancel.job_id)
        if distrusted is not None:
            return [_not_theirs(record, moment, distrusted)]
        pool = DEFAULT_POOL if cancel.pool is None else cancel.pool
        owner = cancel.tenant_id
        job_id = canonical_job_id(cancel.job_id)
        if job_id is None or not valid_tenant(owner):
            why = Reason(code="invalid_request", message="job_id or tenant_id is not valid.")
            return [_letter(record, moment, why, owner)]
        if pool not in self._pools:
            return [_letter(record, moment, _reason("unknown_pool"), owner, job_id)]
        asked = CancelRequested(job_id=job_id, tenant_id=owner, pool=pool)
        return [Fact(pool, PoolFact(kind="CancelRequested", cancel_requested=asked))]


class _Known:
    """What is known of a request whose tenant and job id are valid."""

    def __init__(
        self,
        record: Incoming,
        request: JobRequested,
        priority: str,
        moment: Moment,
        broken: list[Violation],
    ) -> None:
        self.record = record
        self.request = request
        self.priority = priority
        self.moment = moment
        self.broken = {one.field for one in broken}
        self.pool = DEFAULT_POOL if request.pool is None else request.pool
        given = canonical_job_id(request.job_id) if request.job_id is not None else None
        self.job_id = given or derived_job_id(request.tenant_id, origin_of(record))

    def because(self, why: Reason, pools: Collection[str]) -> list[Effect]:
        """The refusal for the scheduler, if its pool has one, and the letter."""
        request = self.request
        letter = _letter(self.record, self.moment, why, request.tenant_id, self.job_id)
        if self.pool not in pools:
            return [letter]
        refusal = Refusal(
            job_id=self.job_id,
            tenant_id=request.tenant_id,
            pool=self.pool,
            priority=self.priority,
            spec_digest=spec_digest(request),
            submitted_at=broker_time(self.record.timestamp_ms),
            reason=why,
            webhook_url=None if "webhook_url" in self.broken else request.webhook_url,
            metadata={} if "metadata" in self.broken else request.metadata,
            traceparent=self.moment.traceparent,
        )
        return [Fact(self.pool, PoolFact(kind="Refused", refused=refusal)), letter]


def _job(request: JobRequested, known: _Known) -> Job:
    parent = request.parent_job_id
    return Job(
        job_id=known.job_id,
        tenant_id=request.tenant_id,
        pool=known.pool,
        priority=known.priority,
        spec=spec_of(request, known.job_id),
        spec_digest=spec_digest(request),
        submitted_at=broker_time(known.record.timestamp_ms),
        expires_at=request.expires_at,
        retention_s=request.retention_s,
        webhook_url=request.webhook_url,
        metadata=request.metadata,
        traceparent=known.moment.traceparent,
        parent_job_id=None if parent is None else canonical_job_id(parent),
    )


def _reason(code: str) -> Reason:
    if code == "rate_limited":  # a refused job has ended: its id would only be a repeat
        message = "Too many requests. Slow down and send it again with a fresh job_id."
        return Reason(code=code, message=message)
    return Reason(code=code, message=f"{REASONS[code].title}. {REASONS[code].remedy}")


def _invalid(broken: list[Violation]) -> Reason:
    listed = "; ".join(f"{one.field}: {one.code}: {one.message}" for one in broken)
    return Reason(code="invalid_request", message=listed[:_MAX_MESSAGE])


def _not_theirs(record: Incoming, moment: Moment, distrusted: Distrusted) -> Letter:
    """The letter, without the job id: that may be another tenant's."""
    why = distrusted.why
    return Letter(
        dead_letter(
            record,
            code=why.code,
            error_class="conflict" if why.code == "tenant_conflict" else "permanent",
            reason=why.message[:_MAX_MESSAGE],
            at=moment.now,
            tenant_id=distrusted.tenant_id,
        )
    )


def _letter(
    record: Incoming, moment: Moment, why: Reason, tenant_id: str, job_id: str | None = None
) -> Letter:
    return Letter(
        dead_letter(
            record,
            code=why.code,
            error_class="retryable" if why.code == "rate_limited" else "permanent",
            reason=why.message,
            at=moment.now,
            tenant_id=tenant_id if valid_tenant(tenant_id) else None,
            job_id=job_id,
        )
    )
