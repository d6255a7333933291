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
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from infra.crash import crash_point
from infra.telemetry import traceparent
from ingest.api.bodies import BatchAnswer, Json
from ingest.api.body import json_body, read_object
from ingest.api.edge import Edge, UsesEdge, WritesJobs, database_errors
from ingest.api.idempotency import IdempotencyKey, plain_key
from ingest.api.jobs import REFUSALS, hand_over
from ingest.api.problems import Problem, content_of, documented
from ingest.metrics import SUBMITTED
from ingest.store import jobs as store
from ingest.store.batch import Outcome, submit_many
from ingest.strict_json import LENIENT_DIGITS
from ingest.submission import (
    InvalidSubmission,
    Submission,
    SubmitBody,
    shape_errors,
    submission,
)
from ingest.view import as_submitted, job_json
from schemas.job import job_id_of_key

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


class BatchBody(BaseModel):
    """Jobs to be made. Each is checked by itself, as a submit of its own would be."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    jobs: list[OneJob] = Field(min_length=1, max_length=MOST, description="In this order.")


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch as it was asked for."""

    tenant_id: str
    bodies: list[dict[str, Any]]
    key: str | None
    now: datetime

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the request: what its Idempotency-Key is bound to."""
        return hashlib.sha256(
            json.dumps(["batch", self.bodies], sort_keys=True).encode()
        ).hexdigest()

    def key_of(self, index: int) -> str | None:
        """The name of one of its jobs; no header's value holds a NUL."""
        return None if self.key is None else f"{self.key}\x00{index}"


@router.post(
    "/batch",
    status_code=207,
    response_model=BatchAnswer,
    responses=documented(*REFUSALS),
    openapi_extra=json_body(BatchBody),
)
async def submit_batch(
    request: Request, edge: UsesEdge, identity: WritesJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """Accept up to 100 jobs, of at most 1 MiB in all. Look into the answer for each one's fate.

    One Idempotency-Key stands for the whole batch: sent again, it makes no job twice.
    """
    key = plain_key(idempotency_key)
    try:
        body = BatchBody.model_validate(await read_object(request, MAX_BATCH_BODY, LENIENT_DIGITS))
    except ValidationError as error:
        raise Problem("invalid_request", errors=shape_errors(error)) from None
    if await edge.overloaded():
        SUBMITTED.labels("overloaded").inc()
        raise Problem("overloaded")
    batch = _Batch(identity.tenant_id, body.jobs, key, datetime.now(UTC))
    results, new = await _commit(edge, batch)
    if new:
        crash_point("after_submit_commit")
    for _ in new:
        edge.submitted()
    _count(results, len(new))
    await asyncio.gather(*(hand_over(edge, row) for row in new))
    return Json(_shown(results), 207)


async def _commit(
    edge: Edge, batch: _Batch
) -> tuple[list[dict[str, Any] | Problem], list[store.Row]]:
    """Each job, or why it is refused; and the rows that are new."""
    try:
        with database_errors():
            async with edge.database.begin() as connection:
                first = await _first_time(connection, batch)
                asked = [
                    _checked(body, batch.tenant_id, first or batch.now, edge.settings.pool)
                    for body in batch.bodies
                ]
                rows = [
                    _row(edge, batch, index, one)
                    for index, one in enumerate(asked)
                    if isinstance(one, Submission)
                ]
                outcomes = iter(await submit_many(connection, rows))
    except store.KeyInFlight:
        raise Problem("idempotency_in_flight") from None
    except store.KeyConflict:
        raise Problem("idempotency_conflict") from None
    again = first is not None
    new: list[store.Row] = []
    results = [
        one if isinstance(one, Problem) else _result(next(outcomes), new, again=again)
        for one in asked
    ]
    return results, new


async def _first_time(connection: AsyncConnection, batch: _Batch) -> datetime | None:
    """When the same batch came for the first time; None: this is it.

    What was valid then is so again, though a time that it names may have passed.
    """
    if batch.key is None:
        return None
    of = uuid.UUID(job_id_of_key(batch.tenant_id, f"{batch.key}\x00"))
    known = await store.claim_key(connection, batch.tenant_id, of, batch.key, batch.fingerprint())
    return None if known is None else known.at


def _checked(
    body: dict[str, Any], tenant_id: str, now: datetime, pool: str
) -> Submission | Problem:
    try:
        return submission(body, tenant_id, now, (pool,))
    except InvalidSubmission as error:
        return Problem("invalid_request", errors=error.errors)


def _row(edge: Edge, batch: _Batch, index: int, asked: Submission) -> dict[str, Any]:
    job_id = store.job_id_for(asked, batch.key_of(index))
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
