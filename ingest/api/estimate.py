"""``POST /v1/jobs/estimate``: what a job would take and cost, without submitting it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from ingest.api.bodies import Json, QueuePlace
from ingest.api.body import described, read_object
from ingest.api.edge import UsesEdge, WritesJobs
from ingest.api.moderated import allow
from ingest.api.problems import Problem, documented
from ingest.estimate import Work
from ingest.models import Body
from ingest.submission import InvalidSubmission, SubmitBody, submission
from schemas.job import DEFAULT_POOL, spec_of

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
#: Money is rounded to so much.
_CENT: Final = Decimal("0.0001")
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"


class Money(Body):
    """An amount of money."""

    amount: str = Field(description="Decimal number.", pattern=r"^[0-9]+\.[0-9]{4}$")
    currency: str = Field(description="ISO 4217.", pattern="^[A-Z]{3}$")


class Estimate(Body):
    """What a job would take. Nothing was written, reserved or sent."""

    object: Literal["estimate"] = Field(description="What this is.")
    seconds: float = Field(description="From its start to its end.", ge=0)
    gpu_seconds: float = Field(description="GPU time that it would use.", ge=0)
    cost: Money | None = Field(description="Null: no price is set.")
    queue: QueuePlace = Field(description="Its place if it were submitted now.")


@router.post(
    "/estimate",
    response_model=Estimate,
    openapi_extra=described(SubmitBody),
    responses=documented("prompt_blocked"),
)
async def estimate_job(request: Request, edge: UsesEdge, identity: WritesJobs) -> Response:
    """Check a job exactly as a submit does, and say what it would take; write nothing."""
    body, now = await read_object(request), datetime.now(UTC)
    try:
        asked = submission(body, identity.tenant_id, now, (edge.settings.pool,))
    except InvalidSubmission as error:
        raise Problem("invalid_request", errors=error.errors) from None
    await allow(edge, asked.request, identity.actor)
    spec = spec_of(asked.request, _NOBODY)
    pixels, guided = spec.width * spec.height, spec.guidance_scale > 1
    work = Work(spec.num_inference_steps, spec.num_frames, pixels, guided)
    pool = asked.request.pool or DEFAULT_POOL
    queue = await edge.queues.queue(pool)
    seconds = queue.model.seconds(work)
    return Json(
        {
            "object": "estimate",
            "seconds": round(seconds, 3),
            # One task a GPU: a job has one for as long as it runs.
            "gpu_seconds": round(seconds, 3),
            "cost": _cost(seconds, await edge.queues.price(pool), edge.settings.currency),
            "queue": queue.place_of_new(asked.priority, work, now).json(),
        }
    )


def _cost(seconds: float, price: float | None, currency: str) -> dict[str, str] | None:
    if price is None:
        return None
    amount = (Decimal(str(seconds)) * Decimal(str(price))).quantize(_CENT)
    return {"amount": str(amount), "currency": currency}
