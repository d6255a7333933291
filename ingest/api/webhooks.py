"""``/v1/webhooks``: endpoints that are told when a tenant's jobs end."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from ingest.api.bodies import DeliveryList, EndpointList, EndpointMade, Json
from ingest.api.body import BODY_REFUSALS, json_body, read_object
from ingest.api.edge import ReadsWebhooks, UsesEdge, WritesWebhooks
from ingest.api.jobs import job_uuid
from ingest.api.problems import Problem, documented
from ingest.shapes import WebUrl, web_url
from ingest.store import webhooks as store
from ingest.submission import shape_errors
from ingest.view import moment
from schemas.job import Violation

router: Final = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

Kind = Literal["Completed", "Failed", "Cancelled", "Refused", "Expired"]


class EndpointBody(BaseModel):
    """An endpoint to be told."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    url: WebUrl = Field(description="http or https, without a password.")
    events: list[Kind] | None = Field(
        None, min_length=1, max_length=5, description="Which ends to tell of; all when left out."
    )


PathId = Annotated[
    str, Path(description="The endpoint's id.", json_schema_extra={"format": "uuid"})
]


def endpoint_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    """An endpoint without its secret."""
    return {
        "id": str(row["endpoint_id"]),
        "url": row["url"],
        "events": row["events"],
        "created_at": moment(row["created_at"]),
        "disabled_at": moment(row["disabled_at"]),
        "disabled_reason": row["disabled_reason"],
    }


def delivery_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A delivery: how far it is and what the receiver said."""
    ended = "delivered" if row["delivered"] else "failed"
    return {
        "id": row["delivery_id"],
        "job_id": str(row["job_id"]),
        "event": row["kind"],
        "status": "pending" if row["pending"] else ended,
        "attempts": row["attempts"],
        "last_status": row["last_status"],
        "last_error": row["last_error"],
        "next_at": moment(row["next_at"]) if row["pending"] else None,
        "created_at": moment(row["created_at"]),
        "ended_at": moment(row["ended_at"]),
    }


@router.post(
    "",
    status_code=201,
    response_model=EndpointMade,
    responses=documented(*BODY_REFUSALS, "invalid_request"),
    openapi_extra=json_body(EndpointBody),
)
async def add_webhook(request: Request, edge: UsesEdge, identity: WritesWebhooks) -> Response:
    """Register an endpoint. The answer alone holds its secret: keep it."""
    try:
        body = EndpointBody.model_validate(await read_object(request))
    except ValidationError as error:
        raise Problem("invalid_request", errors=shape_errors(error)) from None
    if not web_url(body.url):
        wrong = Violation("url", "invalid_url", "Use an http or https URL without a password.")
        raise Problem("invalid_request", errors=[wrong])
    kinds = None if body.events is None else sorted(set(body.events))
    async with edge.connection() as connection:
        row = await store.add_endpoint(connection, identity.tenant_id, body.url, kinds)
    if row is None:
        wrong = Violation("url", "too_many", f"At most {store.MAX_ENDPOINTS}: remove one first.")
        raise Problem("invalid_request", errors=[wrong])
    shown = endpoint_json(row) | {"secret": row["secret"]}
    location = f"/v1/webhooks/{shown['id']}"
    return Json(shown, 201, {"Location": location, "Cache-Control": "no-store"})


@router.get("", response_model=EndpointList)
async def list_webhooks(edge: UsesEdge, identity: ReadsWebhooks) -> Response:
    """The tenant's endpoints, oldest first."""
    async with edge.connection() as connection:
        rows = await store.endpoints(connection, identity.tenant_id)
    return Json({"data": [endpoint_json(row) for row in rows]})


@router.delete(
    "/{endpoint_id}", status_code=204, response_model=None, responses=documented("not_found")
)
async def remove_webhook(endpoint_id: PathId, edge: UsesEdge, identity: WritesWebhooks) -> Response:
    """Remove an endpoint; what is still due there is not sent."""
    found: uuid.UUID = job_uuid(endpoint_id)
    async with edge.connection() as connection:
        if not await store.remove_endpoint(connection, identity.tenant_id, found):
            raise Problem("not_found")
    return Response(status_code=204)


@router.get(
    "/{endpoint_id}/deliveries",
    response_model=DeliveryList,
    responses=documented("not_found", "invalid_request"),
)
async def list_deliveries(
    endpoint_id: PathId,
    edge: UsesEdge,
    identity: ReadsWebhooks,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
) -> Response:
    """The endpoint's newest deliveries."""
    found = job_uuid(endpoint_id)
    async with edge.connection() as connection:
        rows = await store.deliveries_of(connection, identity.tenant_id, found, limit)
    if rows is None:
        raise Problem("not_found")
    return Json({"data": [delivery_json(row) for row in rows]})
