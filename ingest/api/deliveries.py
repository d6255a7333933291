"""``/v1/webhooks/{id}``: the log of an endpoint's deliveries, replays and tests."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.telemetry import traceparent
from ingest import cursor
from ingest.api.body import described, read_body
from ingest.api.edge import ReadsWebhooks, UsesEdge, WritesWebhooks
from ingest.api.jobs import job_uuid
from ingest.api.path_ids import DELIVERY, DeliveryId, EndpointId
from ingest.api.problems import Problem, documented
from ingest.api.webhook_models import (
    DeliveryList,
    DeliveryView,
    ReplayBody,
    ReplayView,
    delivery_view,
)
from ingest.store import delivery_log as store
from ingest.store import webhooks as endpoints
from schemas.job import Violation

router: Final = APIRouter(prefix="/v1/webhooks/{endpoint_id}", tags=["webhooks"])
_ID: Final = re.compile(DELIVERY)


async def _endpoint(
    connection: AsyncConnection, tenant_id: str, found: uuid.UUID, *, to_replay: bool = False
) -> RowMapping:
    row = await endpoints.endpoint(connection, tenant_id, found, lock=to_replay)
    if row is None:
        raise Problem("not_found")
    if to_replay and row["disabled_at"] is not None:
        raise Problem("webhook_disabled")
    return row


@router.get(
    "/deliveries",
    response_model=DeliveryList,
    responses=documented("not_found"),
)
async def list_deliveries(
    endpoint_id: EndpointId,
    edge: UsesEdge,
    identity: ReadsWebhooks,
    status: Annotated[store.Status | None, Query(description="Only those.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
    after: Annotated[
        str | None,
        Query(alias="cursor", pattern=cursor.PATTERN, description="The next_cursor of a page."),
    ] = None,
) -> DeliveryList:
    """The endpoint's deliveries with their attempts, newest first."""
    found = job_uuid(endpoint_id)
    of = f"deliveries\0{found}\0{status}"
    try:
        position = None if after is None else cursor.decode(after, of)
    except cursor.InvalidCursor as error:
        wrong = Violation("cursor", "invalid_cursor", f"{error}.")
        raise Problem("invalid_request", errors=[wrong]) from None
    async with edge.connection() as connection:
        await _endpoint(connection, identity.tenant_id, found)
        rows = await store.page(connection, found, status, position, limit + 1)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        place = cursor.Position(last["created_at"], store.delivery_uuid(last["delivery_id"]))
        following = cursor.encode(place, of)
    return DeliveryList(data=[delivery_view(row) for row in rows[:limit]], next_cursor=following)


@router.get(
    "/deliveries/{delivery_id}",
    response_model=DeliveryView,
    responses=documented("not_found"),
)
async def get_delivery(
    endpoint_id: EndpointId, delivery_id: DeliveryId, edge: UsesEdge, identity: ReadsWebhooks
) -> DeliveryView:
    """One delivery with its attempts."""
    found, wanted = job_uuid(endpoint_id), _delivery_id(delivery_id)
    async with edge.connection() as connection:
        await _endpoint(connection, identity.tenant_id, found)
        row = await store.get(connection, found, wanted)
    if row is None:
        raise Problem("not_found")
    return delivery_view(row)


@router.post(
    "/deliveries/{delivery_id}/replay",
    status_code=202,
    response_model=DeliveryView,
    responses=documented("not_found", "webhook_disabled"),
)
async def replay_delivery(
    endpoint_id: EndpointId, delivery_id: DeliveryId, edge: UsesEdge, identity: WritesWebhooks
) -> DeliveryView:
    """Send one delivery again, with the same webhook-id; one that is pending stays as it is."""
    found, wanted = job_uuid(endpoint_id), _delivery_id(delivery_id)
    async with edge.connection() as connection:
        endpoint = await _endpoint(connection, identity.tenant_id, found, to_replay=True)
        row = await store.replay(connection, endpoint, wanted)
    if row is None:
        raise Problem("not_found")
    return delivery_view(row)


@router.post(
    "/replay",
    status_code=202,
    response_model=ReplayView,
    openapi_extra=described(ReplayBody),
    responses=documented("not_found", "webhook_disabled"),
)
async def replay_since(
    endpoint_id: EndpointId, request: Request, edge: UsesEdge, identity: WritesWebhooks
) -> ReplayView:
    """Send what was made since a time again, 1,000 deliveries a call, those that missed it too."""
    found = job_uuid(endpoint_id)
    body = await read_body(request, ReplayBody)
    async with edge.connection() as connection:
        endpoint = await _endpoint(connection, identity.tenant_id, found, to_replay=True)
        done = await store.replay_between(
            connection,
            endpoint,
            body.since,
            body.until or datetime.now(UTC),
            only_failed=body.only_failed,
        )
    return ReplayView(replayed=done.replayed, next_since=done.next_since)


@router.post(
    "/test",
    status_code=202,
    response_model=DeliveryView,
    responses=documented("not_found"),
)
async def send_test(
    endpoint_id: EndpointId, edge: UsesEdge, identity: WritesWebhooks
) -> DeliveryView:
    """Send the endpoint a signed ``webhook.test``, once, even if it is disabled."""
    found = job_uuid(endpoint_id)
    async with edge.connection() as connection:
        endpoint = await _endpoint(connection, identity.tenant_id, found)
        row = await store.add_test(connection, endpoint, traceparent())
    return delivery_view(row)


def _delivery_id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise Problem("not_found")
    return text
