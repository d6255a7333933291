"""``/v1/jobs``: submit, read, cancel, timeline."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from opentelemetry.trace import SpanKind
from starlette.responses import Response

from infra.crash import crash_point
from infra.telemetry import span, traceparent
from ingest.api.bodies import NOT_MODIFIED, JobBody, Json, Timeline
from ingest.api.body import json_body, read_object
from ingest.api.edge import Edge, EndsJobs, ReadsJobs, SubmitsJobs, UsesEdge
from ingest.api.etag import tagged
from ingest.api.idempotency import IdempotencyKey, plain_key
from ingest.api.moderated import allow
from ingest.api.path_ids import JobId
from ingest.api.prefer import APPLIED, END, END_OR_CHANGE, Prefers, waited
from ingest.api.problems import Problem, documented
from ingest.metrics import SUBMITTED
from ingest.produce import NotProduced
from ingest.store import jobs as store
from ingest.submission import InvalidSubmission, Submission, SubmitBody, submission
from ingest.view import TERMINAL_STATUSES, event_json, job_json
from schemas.job import canonical_job_id
from schemas.records import JobRequested

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
#: How long an answer waits for Kafka; the relay has what was not acknowledged by then.
PRODUCE_DEADLINE: Final = 2.0
#: What Kafka did not acknowledge, the relay sends again.
_RELAYED: Final = contextlib.suppress(NotProduced)
#: Of a submit: what may be wrong with it beside its body.
REFUSALS: Final = (
    "idempotency_conflict",
    "idempotency_in_flight",
    "prompt_blocked",
)

#: What the store refuses, and what the client is told.
CONFLICTS: Final[dict[type[Exception], tuple[str, str | None]]] = {
    store.KeyConflict: ("idempotency_conflict", None),
    store.KeyInFlight: ("idempotency_in_flight", None),
    store.JobConflict: ("job_conflict", None),
    store.JobDeleted: ("job_conflict", "The id is that of a job that was deleted."),
}


def job_uuid(text: str) -> uuid.UUID:
    """The id in a path. What is no UUID in canonical form is no job. Raises Problem: not_found."""
    job_id = canonical_job_id(text)
    if job_id is None:
        raise Problem("not_found")
    return uuid.UUID(job_id)


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    responses=documented(*REFUSALS, "job_conflict"),
    openapi_extra=json_body(SubmitBody),
)
async def submit_job(
    request: Request,
    edge: UsesEdge,
    identity: SubmitsJobs,
    prefer: Prefers,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Accept a job: once committed it is rendered, whatever becomes of this answer.

    With ``Prefer: wait=N`` the answer comes once the job has ended, with 200, or after N seconds.
    """
    key = plain_key(idempotency_key)
    body, now = await read_object(request), datetime.now(UTC)
    try:
        asked = submission(body, identity.tenant_id, now, (edge.settings.pool,))
    except InvalidSubmission as error:
        raise Problem("invalid_request", errors=error.errors) from None
    await allow(edge, asked.request, identity.actor)
    if await edge.overloaded():
        SUBMITTED.labels("overloaded").inc()
        raise Problem("overloaded")
    done = await _commit(edge, asked, key, now)
    if done.created:
        crash_point("after_submit_commit")
        edge.submitted()
        await hand_over(edge, done.row)
    SUBMITTED.labels("created" if done.created else "repeated").inc()
    row, applied = done.row, {}
    if prefer is not None and await waited(request, edge, identity, row, prefer, END):
        applied = {APPLIED: f"wait={prefer}"}
        row = await job_row(edge, identity.tenant_id, str(row["job_id"]))
    shown = job_json(row)
    status = 200 if applied and row["status"] in TERMINAL_STATUSES else 202
    return Json(shown, status, {"Location": shown["links"]["self"], **applied})


async def _commit(
    edge: Edge, asked: Submission, idempotency_key: str | None, now: datetime
) -> store.Submitted:
    job_id = store.job_id_for(asked)
    row = store.row_for(asked, job_id, now, edge.settings.relay_after, traceparent())
    try:
        async with edge.using_database():
            return await store.submit(edge.database, row, idempotency_key, asked.fingerprint())
    except tuple(CONFLICTS) as error:
        SUBMITTED.labels("conflict").inc()
        raise Problem(*CONFLICTS[type(error)]) from None


async def hand_over(edge: Edge, row: store.Row) -> None:
    """Produce a committed job's request; what Kafka does not take now, the relay sends."""
    asked = JobRequested.model_validate(row["request"])
    with span("jobs.requested publish", SpanKind.PRODUCER, job_id=str(row["job_id"])), _RELAYED:
        await edge.producer.request(asked, row["priority"], traceparent(), PRODUCE_DEADLINE)


@router.get(
    "/{job_id}",
    response_model=JobBody,
    responses=documented("not_found", "job_deleted") | NOT_MODIFIED,
)
async def get_job(
    request: Request, job_id: JobId, edge: UsesEdge, identity: ReadsJobs, prefer: Prefers
) -> Response:
    """One job. With If-None-Match, a poll that finds nothing new has no body.

    With ``Prefer: wait=N`` the answer comes once it has changed or ended, or after N seconds.
    """
    row, applied = await job_row(edge, identity.tenant_id, job_id), {}
    if prefer is not None and await waited(request, edge, identity, row, prefer, END_OR_CHANGE):
        applied = {APPLIED: f"wait={prefer}"}
        row = await job_row(edge, identity.tenant_id, job_id)
    answer = Json((await shown_all(edge, [row]))[0], headers=applied)
    return tagged(request, answer)


async def shown_all(edge: Edge, rows: Sequence[store.Row]) -> list[dict[str, Any]]:
    """Jobs as their owner sees them, with their places in the queue."""
    places = await edge.queues.places(rows)
    return [
        job_json(row, queue=None if place is None else place.json())
        for row, place in zip(rows, places, strict=True)
    ]


async def job_row(edge: Edge, tenant_id: str, job_id: str) -> store.Row:
    """The tenant's job of that id.

    Raises:
        Problem: not_found, also when it is another tenant's; job_deleted.
    """
    async with edge.connection() as connection:
        row = await store.get(connection, tenant_id, job_uuid(job_id))
    if row is None:
        raise Problem("not_found")
    if row["deleted_at"] is not None:
        raise Problem("job_deleted")
    return row


@router.get(
    "/{job_id}/timeline",
    response_model=Timeline,
    responses=documented("not_found", "job_deleted"),
)
async def get_timeline(job_id: JobId, edge: UsesEdge, identity: ReadsJobs) -> Response:
    """What happened to the job, in the order of the log."""
    row = await job_row(edge, identity.tenant_id, job_id)
    async with edge.connection() as connection:
        events = await store.events(connection, row["job_id"])
    shown = [event_json(event) for event in events]
    return Json({"id": str(row["job_id"]), "data": shown})


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=JobBody,
    responses=documented("not_found", "job_deleted", "job_ended"),
)
async def cancel_job(job_id: JobId, edge: UsesEdge, identity: EndsJobs) -> Response:
    """Have the job cancelled: durable once answered, and harmless to repeat."""
    found = job_uuid(job_id)
    async with edge.connection() as connection:
        row = await store.ask_cancel(
            connection, identity.tenant_id, found, edge.settings.relay_after
        )
    if row is None:
        raise Problem("not_found")
    if row["deleted_at"] is not None:
        raise Problem("job_deleted")
    if row["status"] in TERMINAL_STATUSES:
        raise Problem("job_ended", f"It is {row['status']}.", extra={"job": job_json(row)})
    await pass_on_cancel(edge, row)
    return Json(job_json(row), 202)


async def pass_on_cancel(edge: Edge, row: store.Row) -> None:
    """Tell the scheduler of a committed cancel; what Kafka does not take now, the relay sends."""
    job_id = str(row["job_id"])
    with span("CancelRequested publish", SpanKind.PRODUCER, job_id=job_id), _RELAYED:
        await edge.producer.cancel(
            job_id, row["tenant_id"], row["pool"], traceparent(), PRODUCE_DEADLINE
        )
