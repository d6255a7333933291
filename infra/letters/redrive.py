"""What a dead letter becomes when it is redriven. Pure.

A redrive is a new job whose id follows from the letter's content, so that a letter redriven twice,
or told twice, or by two operators at once, is one job to the scheduler.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.errors import CodecError, RecordTooLarge, UnknownSchema, Unreadable, WrongRecordType
from schemas.job import (
    NAMESPACE,
    PRIORITIES,
    canonical_job_id,
    valid_tenant,
    violations,
)
from schemas.records import CancelRequested, DeadLetter, Job, JobRequested, PoolFact, Record
from schemas.topics import Topics

#: Codes of records that could not be read: nothing was made of them, not even a refusal.
UNREAD: Final = frozenset(
    error.code for error in (RecordTooLarge, Unreadable, UnknownSchema, WrongRecordType)
)
#: Codes of records whose tenant is not the one that they name, for all that is known.
NOT_THEIRS: Final = frozenset({"unauthenticated_producer", "tenant_conflict"})
#: A wish to cancel is redriven as it is, to where it lay.
Content = PoolFact | JobRequested | CancelRequested


class NotRedrivableError(Exception):
    """The letter cannot be redriven; the message says why, and what can be done instead."""


@dataclass(frozen=True, slots=True)
class Redrive:
    """A record to produce.

    Attributes:
        topic: Where to.
        key: Its key.
        record: What to encode, or None when ``original`` goes as it is.
        original: The letter's own bytes.
        tenant_id: Whose it is.
        job_id: The job it asks for; None: it asks for none.
        notes: What differs from the original, for the operator.
        traceparent: The trace to go on with.
    """

    topic: str
    key: bytes
    record: JobRequested | None
    original: bytes | None
    tenant_id: str
    job_id: str | None
    notes: tuple[str, ...] = ()
    traceparent: str | None = None


def letter_id(letter: DeadLetter) -> str:
    """The id of a letter: the same however often the same failure is told."""
    value = "null" if letter.value is None else hashlib.sha256(letter.value).hexdigest()
    place = f"{letter.topic}\x00{letter.partition}\x00{letter.offset}"
    return str(uuid.uuid5(NAMESPACE, f"letter\x00{place}\x00{letter.code}\x00{value}"))


def redriven_job_id(of_letter: str) -> str:
    """The id of the one job that redriving the letter of that id asks for."""
    return str(uuid.uuid5(NAMESPACE, f"redrive\x00{of_letter}"))


def content_type(letter: DeadLetter, topics: Topics) -> type[Record] | None:
    """The type of the record that a letter holds, by where it lay; None: not one of ours."""
    source = topics.source(letter.topic)
    if source is not None:
        return CancelRequested if source.priority is None else JobRequested
    if letter.topic.startswith(f"{topics.prefix}pool.") and letter.topic.endswith(".inbox"):
        return PoolFact
    return None


def redrive(
    letter: DeadLetter, content: Record | CodecError | None, topics: Topics, now: datetime
) -> Redrive:
    """What to produce for ``letter``.

    Args:
        letter: The letter; anyone may have written it.
        content: Its value as decoded now, or why it cannot be; None: its topic is none of ours.
        topics: Names of the topics.
        now: Decides whether an expiry has passed.

    Raises:
        NotRedrivableError: with the reason.
    """
    if content is None:
        raise NotRedrivableError(
            "It lay in a topic that takes no requests: correct what wrote it there."
        )
    if isinstance(content, CodecError):
        raise NotRedrivableError(
            f"It still cannot be read ({content.code}: {content}). Upgrade this service to a "
            "release that ships its schema, or have its producer send it again in a known one."
        )
    _check_tenant(letter, content, topics)
    if isinstance(content, PoolFact):
        return _of_job(letter, content.admitted, topics, now)
    if isinstance(content, JobRequested):
        return _of_request(letter, content, topics, now)
    if isinstance(content, CancelRequested):
        return _of_cancel(letter, content)
    raise NotRedrivableError("It holds a record that asks for nothing.")


def _of_job(letter: DeadLetter, job: Job | None, topics: Topics, now: datetime) -> Redrive:
    if job is None:
        raise NotRedrivableError(
            "It is about a request that was refused: the letter that holds the request itself "
            "can be redriven once what was wrong with it is right."
        )
    if job.priority not in PRIORITIES:
        raise NotRedrivableError("Its job has a priority that there is not.")
    request = JobRequested(
        tenant_id=job.tenant_id,
        **job.spec.model_dump(),
        pool=job.pool,
        expires_at=job.expires_at,
        retention_s=job.retention_s,
        webhook_url=job.webhook_url,
        metadata=job.metadata,
    )
    topic = topics.requested(job.priority)
    return _new_job(letter, request, topic, (job.job_id, job.traceparent), now)


def _check_tenant(letter: DeadLetter, content: Record, topics: Topics) -> None:
    if letter.code in NOT_THEIRS:
        raise NotRedrivableError(
            "Nobody vouches for the tenant that it names: its producer must send it again."
        )
    source = topics.source(letter.topic)
    if source is None or source.tenant_id is None:
        return
    if getattr(content, "tenant_id", None) != source.tenant_id:
        raise NotRedrivableError("It names another tenant than the one whose topic it lay in.")


def _of_request(
    letter: DeadLetter, request: JobRequested, topics: Topics, now: datetime
) -> Redrive:
    given = None if request.job_id is None else canonical_job_id(request.job_id)
    if letter.code in UNREAD and given is not None:
        # No job was ever made of it: it is itself, and its own id makes a repeat harmless.
        _check(request, now)
        key, owner = _key(request), request.tenant_id
        return Redrive(letter.topic, key, None, letter.value, owner, given)
    # A tenant's own topic is for that tenant to write.
    source = topics.source(letter.topic)
    topic = topics.requested(source.priority or "") if source is not None else letter.topic
    return _new_job(letter, request, topic, (given or letter.job_id, None), now)


def _of_cancel(letter: DeadLetter, cancel: CancelRequested) -> Redrive:
    if canonical_job_id(cancel.job_id) is None or not valid_tenant(cancel.tenant_id):
        raise NotRedrivableError("Its job_id or tenant_id is not valid: send a correct one.")
    key = cancel.job_id.encode()
    return Redrive(letter.topic, key, None, letter.value, cancel.tenant_id, None)


def _new_job(
    letter: DeadLetter,
    request: JobRequested,
    topic: str,
    before: tuple[str | None, str | None],
    now: datetime,
) -> Redrive:
    parent, traceparent = before
    update = {
        "job_id": redriven_job_id(letter_id(letter)),
        "parent_job_id": None if parent is None else canonical_job_id(parent),
    }
    notes: tuple[str, ...] = ()
    if request.expires_at is not None and request.expires_at <= now:
        update["expires_at"] = None
        notes = ("its expires_at has passed and was dropped",)
    made = request.model_copy(update=update)
    _check(made, now)
    owner = made.tenant_id
    return Redrive(topic, _key(made), made, None, owner, made.job_id, notes, traceparent)


def _check(request: JobRequested, now: datetime) -> None:
    broken = violations(request, now)
    if broken:
        listed = "; ".join(f"{one.field}: {one.code}: {one.message}" for one in broken)
        raise NotRedrivableError(f"It breaks the rules of a request: {listed[:400]}")


def _key(request: JobRequested) -> bytes:
    return request.tenant_id.encode()
