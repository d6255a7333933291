"""``POST /v1/jobs/batch``: up to 100 jobs in one transaction, each taken or refused by itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from infra.crash import crash_point
from infra.telemetry import traceparent
from ingest.api import limits
from ingest.api.bodies import BatchAnswer, Json
from ingest.api.body import described, read_body
from ingest.api.edge import Edge, SubmitsJobs, UsesEdge, counted_as
from ingest.api.idempotency import IdempotencyKey, plain_key
from ingest.api.jobs import REFUSALS, hand_over
from ingest.api.moderated import allow
from ingest.api.problems import Problem, content_of, documented
from ingest.metrics import SUBMITTED
from ingest.models import StrictBody
from ingest.store import jobs as store
from ingest.store.batch import Outcome, submit_many
from ingest.strict_json import LENIENT_DIGITS
from ingest.submission import (
    InvalidSubmission,
    Submission,
    SubmitBody,
    submission,
)
from ingest.view import as_submitted, job_json

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
MOST: Final = 100
#: Bytes of a batch: 100 jobs of 10 KiB each, which is more than a prompt of full length.
MAX_BATCH_BODY: Final = 1024 * 1024


class _EachByItself:
    """The schema of a batch's jobs: a SubmitBody, or whatever else is refused by itself."""

    @staticmethod
    def __get_pydantic_json_schema__(
        _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        anything = {
            "type": ["string", "number", "boolean", "object", "array", "null"],
            "description": "Anything.",
        }
        other = {
            "type": "object",
            "title": "OtherJob",
            "description": "What is no SubmitBody is refused by itself, with its problem.",
            "additionalProperties": anything,
        }
        return {"anyOf": [handler(SubmitBody.__pydantic_core_schema__), other]}


OneJob = Annotated[dict[str, Any], _EachByItself]


class BatchBody(StrictBody):
    """Jobs to be made. Each is checked by itself, as a submit of its own would be."""

    jobs: list[OneJob] = Field(min_length=1, max_length=MOST, description="In this order.")


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch as it was asked for; ``id`` is its own, and nobody is told it."""

    id: uuid.UUID
    tenant_id: str
    bodies: list[dict[str, Any]]
    key: str | None
    now: datetime

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the request: what its Idempotency-Key is bound to."""
        return hashlib.sha256(
            json.dumps(["batch", self.bodies], sort_keys=True).encode()
        ).hexdigest()


@router.post(
    "/batch",
    status_code=207,
    response_model=BatchAnswer,
    responses=documented(*REFUSALS),
    openapi_extra=described(BatchBody),
)
async def submit_batch(
    request: Request, edge: UsesEdge, identity: SubmitsJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """Accept up to 100 jobs, of at most 1 MiB in all. Look into the answer for each one's fate.

    One Idempotency-Key stands for the whole batch: sent again, it makes no job twice.
    """
    key = plain_key(idempotency_key)
    body = await read_body(request, BatchBody, MAX_BATCH_BODY, LENIENT_DIGITS)
    others = len(body.jobs) - 1  # the request itself has been counted as one submit
    if others:
        await limits.count(request, edge.limiter, counted_as(identity), "submit", cost=others)
    if await edge.overloaded():
        SUBMITTED.labels("overloaded").inc()
        raise Problem("overloaded")
    batch = _Batch(uuid.uuid4(), identity.tenant_id, body.jobs, key, datetime.now(UTC))
    results, new = await _commit(edge, batch, await _barred(edge, batch, identity.actor))
    if new:
        crash_point("after_submit_commit")
    for _ in new:
        edge.submitted()
    _count(results, len(new))
    await asyncio.gather(*(hand_over(edge, row) for row in new))
    return Json(_shown(results), 207)


async def _barred(edge: Edge, batch: _Batch, actor: str) -> dict[int, Problem]:
    """Why moderation refuses jobs, by their place in the batch."""
    found: dict[int, Problem] = {}

    async def look(index: int, body: dict[str, Any]) -> None:
        one = _checked(body, batch.tenant_id, batch.now, edge.settings.pool)
        if isinstance(one, Submission):
            try:
                await allow(edge, one.request, actor)
            except Problem as problem:
                found[index] = problem

    await asyncio.gather(*(look(index, body) for index, body in enumerate(batch.bodies)))
    return found


async def _commit(
    edge: Edge, batch: _Batch, barred: dict[int, Problem]
) -> tuple[list[dict[str, Any] | Problem], list[store.Row]]:
    """Each job, or why it is refused; and the rows that are new."""
    try:
        async with edge.connection() as connection:
            first = await _first_time(connection, batch)
            asked = [
                barred.get(index) or _checked(body, batch.tenant_id, first.at, edge.settings.pool)
                for index, body in enumerate(batch.bodies)
            ]
            rows = [
                _row(edge, batch, first.job_id, index, one)
                for index, one in enumerate(asked)
                if isinstance(one, Submission)
            ]
            outcomes = iter(await submit_many(connection, rows))
    except store.KeyInFlight:
        raise Problem("idempotency_in_flight") from None
    except store.KeyConflict:
        raise Problem("idempotency_conflict") from None
    again = first.job_id != batch.id
    new: list[store.Row] = []
    results = [
        one if isinstance(one, Problem) else _result(next(outcomes), new, again=again)
        for one in asked
    ]
    return results, new


async def _first_time(connection: AsyncConnection, batch: _Batch) -> store.KeyOfJob:
    """When the same batch came for the first time, and the id that it was given then.

    What was valid then is so again, though a time that it names may have passed. Its jobs' ids come
    from the batch's, which nobody knows: so nobody can guess them.
    """
    this = store.KeyOfJob(batch.id, batch.now)
    if batch.key is None:
        return this
    known = await store.claim_key(
        connection, batch.tenant_id, batch.id, batch.key, batch.fingerprint()
    )
    return known or this


def _checked(
    body: dict[str, Any], tenant_id: str, now: datetime, pool: str
) -> Submission | Problem:
    try:
        return submission(body, tenant_id, now, (pool,))
    except InvalidSubmission as error:
        return Problem("invalid_request", errors=error.errors)


def _row(
    edge: Edge, batch: _Batch, batch_id: uuid.UUID, index: int, asked: Submission
) -> dict[str, Any]:
    job_id = asked.request.job_id or str(uuid.uuid5(batch_id, str(index)))
    # A microsecond apart: lists show a batch in its order.
    now = batch.now + timedelta(microseconds=index)
    return store.row_for(asked, job_id, now, edge.settings.relay_after, traceparent())


def _result(outcome: Outcome, new: list[store.Row], *, again: bool) -> dict[str, Any] | Problem:
    if isinstance(outcome, store.JobConflict):
        return Problem("job_conflict")
    if isinstance(outcome, store.JobDeleted):
        return Problem("job_conflict", "The id is that of a job that was deleted.")
    if outcome.created:
        new.append(outcome.row)
    return job_json(as_submitted(outcome.row) if again else outcome.row)


def _count(results: list[dict[str, Any] | Problem], new: int) -> None:
    refused = sum(isinstance(one, Problem) for one in results)
    SUBMITTED.labels("created").inc(new)
    SUBMITTED.labels("repeated").inc(len(results) - new - refused)


def _shown(results: list[dict[str, Any] | Problem]) -> dict[str, Any]:
    data: list[dict[str, Any]] = []
    for index, one in enumerate(results):
        refused = isinstance(one, Problem)
        problem = content_of(one) if isinstance(one, Problem) else None
        data.append(
            {
                "index": index,
                "status": problem["status"] if problem else 202,
                "job": None if refused else one,
                "problem": problem,
            }
        )
    accepted = sum(item["problem"] is None for item in data)
    counts = {"accepted": accepted, "refused": len(data) - accepted}
    return {"object": "batch", **counts, "data": data}
