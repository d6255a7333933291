"""``/v1/jobs``: submit, read, list, cancel, timeline."""

from __future__ import annotations

import contextlib
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse
from opentelemetry.trace import SpanKind

from infra.crash import crash_point
from infra.telemetry import span, traceparent
from ingest import cursor
from ingest.api.body import read_object
from ingest.api.edge import (
    Edge,
    ReadsJobs,
    SubmitsJobs,
    UsesEdge,
    WritesJobs,
)
from ingest.api.moderated import allow
from ingest.api.problems import Problem
from ingest.metrics import SUBMITTED
from ingest.produce import NotProduced
from ingest.store import jobs as store
from ingest.submission import InvalidSubmission, Submission, SubmitBody, submission
from ingest.view import TERMINAL_STATUSES, event_json, job_json
from schemas.job import Violation, canonical_job_id
from schemas.records import JobRequested
from schemas.states import Status

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
#: How long an answer waits for Kafka; the relay has what was not acknowledged by then.
PRODUCE_DEADLINE: Final = 2.0
#: What Kafka did not acknowledge, the relay sends again.
_RELAYED: Final = contextlib.suppress(NotProduced)
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SubmitBody.model_json_schema()}},
    }
}


def job_uuid(text: str) -> uuid.UUID:
    """The id in a path. What is no UUID in canonical form is no job."""
    job_id = canonical_job_id(text)
    if job_id is None:
        raise Problem("not_found")
    return uuid.UUID(job_id)


@router.post("", status_code=202, openapi_extra=_BODY)
async def submit_job(
    request: Request,
    edge: UsesEdge,
    identity: SubmitsJobs,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> JSONResponse:
    """Accept a job: once committed it is rendered, whatever becomes of this answer."""
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= store.MAX_KEY:
        wrong = Violation("Idempotency-Key", "invalid", f"Use 1 to {store.MAX_KEY} characters.")
        raise Problem("invalid_request", errors=[wrong])
    body, now = await read_object(request), datetime.now(UTC)
    try:
        asked = submission(body, identity.tenant_id, now, (edge.settings.pool,))
    except InvalidSubmission as error:
        raise Problem("invalid_request", errors=error.errors) from None
    await allow(edge, asked.request, str(identity.key_id))
    if await edge.overloaded():
        SUBMITTED.labels("overloaded").inc()
        raise Problem("overloaded")
    done = await _commit(edge, asked, idempotency_key, now)
    if done.created:
        crash_point("after_submit_commit")
        edge.submitted()
        await _produce(edge, done.row)
    SUBMITTED.labels("created" if done.created else "repeated").inc()
    shown = job_json(done.row)
    return JSONResponse(shown, 202, {"Location": shown["links"]["self"]})


async def _commit(
    edge: Edge, asked: Submission, idempotency_key: str | None, now: datetime
) -> store.Submitted:
    job_id = store.job_id_for(asked, idempotency_key)
    row = store.row_for(asked, job_id, now, edge.settings.relay_after, traceparent())
    try:
        async with edge.using_database():
            return await store.submit(edge.database, row, idempotency_key, asked.fingerprint())
    except store.KeyConflict:
        SUBMITTED.labels("conflict").inc()
        raise Problem("idempotency_conflict") from None
    except store.JobConflict:
        SUBMITTED.labels("conflict").inc()
        raise Problem("job_conflict") from None


async def _produce(edge: Edge, row: store.Row) -> None:
    asked = JobRequested.model_validate(row["request"])
    with span("jobs.requested publish", SpanKind.PRODUCER, job_id=str(row["job_id"])), _RELAYED:
        await edge.producer.request(asked, row["priority"], traceparent(), PRODUCE_DEADLINE)


@router.get("")
async def list_jobs(
    edge: UsesEdge,
    identity: ReadsJobs,
    status: Annotated[Status | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(alias="cursor", max_length=64)] = None,
) -> dict[str, Any]:
    """The tenant's jobs, newest first; ``next_cursor`` goes on where the page ends."""
    try:
        position = None if after is None else cursor.decode(after)
    except cursor.InvalidCursor as error:
        wrong = Violation("cursor", "invalid_cursor", f"{error}.")
        raise Problem("invalid_request", errors=[wrong]) from None
    async with edge.connection() as connection:
        rows = await store.page(connection, identity.tenant_id, status, position, limit + 1)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = cursor.encode(cursor.Position(last["created_at"], last["job_id"]))
    return {"data": [job_json(row) for row in rows[:limit]], "next_cursor": following}


@router.get("/{job_id}")
async def get_job(job_id: str, edge: UsesEdge, identity: ReadsJobs) -> dict[str, Any]:
    """One job."""
    return job_json(await job_row(edge, identity.tenant_id, job_id))


async def job_row(edge: Edge, tenant_id: str, job_id: str) -> store.Row:
    """The tenant's job of that id.

    Raises:
        Problem: not_found, also when it is another tenant's.
    """
    async with edge.connection() as connection:
        row = await store.get(connection, tenant_id, job_uuid(job_id))
    if row is None:
        raise Problem("not_found")
    return row


@router.get("/{job_id}/timeline")
async def get_timeline(job_id: str, edge: UsesEdge, identity: ReadsJobs) -> dict[str, Any]:
    """What happened to the job, in the order of the log."""
    row = await job_row(edge, identity.tenant_id, job_id)
    async with edge.connection() as connection:
        events = await store.events(connection, row["job_id"])
    return {"id": str(row["job_id"]), "data": [event_json(event) for event in events]}


@router.post("/{job_id}/cancel", status_code=202)
async def cancel_job(job_id: str, edge: UsesEdge, identity: WritesJobs) -> dict[str, Any]:
    """Have the job cancelled: durable once answered, and harmless to repeat."""
    found = job_uuid(job_id)
    async with edge.connection() as connection:
        row = await store.ask_cancel(
            connection, identity.tenant_id, found, edge.settings.relay_after
        )
    if row is None:
        raise Problem("not_found")
    if row["status"] in TERMINAL_STATUSES:
        raise Problem("job_ended", f"It is {row['status']}.", extra={"job": job_json(row)})
    with span("CancelRequested publish", SpanKind.PRODUCER, job_id=str(found)), _RELAYED:
        await edge.producer.cancel(
            str(found), row["tenant_id"], row["pool"], traceparent(), PRODUCE_DEADLINE
        )
    return job_json(row)
