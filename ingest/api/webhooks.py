"""``/v1/webhooks``: endpoints that are told when a tenant's jobs end."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.api.body import described, read_body
from ingest.api.edge import Edge, ReadsWebhooks, UsesEdge, WritesWebhooks
from ingest.api.jobs import job_uuid
from ingest.api.path_ids import EndpointId
from ingest.api.problems import Problem, documented
from ingest.api.webhook_models import (
    EndpointBody,
    EndpointChange,
    EndpointList,
    EndpointView,
    NewSecretView,
    endpoint_view,
)
from ingest.identity.audit import Kind
from ingest.identity.caller import Identity
from ingest.shapes import web_url
from ingest.store import audit
from ingest.store import webhooks as store
from ingest.webhooks.address import ForbiddenPort, Reach
from ingest.webhooks.payload import port_of
from ingest.webhooks.sealing import Keyring
from schemas.job import Violation

router: Final = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post(
    "",
    status_code=201,
    response_model=NewSecretView,
    openapi_extra=described(EndpointBody),
    responses=documented("too_many_endpoints"),
)
async def add_webhook(
    request: Request, response: Response, edge: UsesEdge, identity: WritesWebhooks
) -> NewSecretView:
    """Register an endpoint. The answer alone holds its secret: keep it."""
    body = await read_body(request, EndpointBody)
    fields = _checked(edge, body.model_dump())
    async with edge.connection() as connection:
        made = await store.add_endpoint(connection, identity.tenant_id, fields, _keyring(edge))
        if made is None:
            raise Problem("too_many_endpoints", f"A tenant has at most {store.MAX_ENDPOINTS}.")
        row, secret = made
        await _audit(connection, "webhook.created", identity, row["endpoint_id"])
    response.headers["Location"] = f"/v1/webhooks/{row['endpoint_id']}"
    response.headers["Cache-Control"] = "no-store"
    return NewSecretView(**endpoint_view(row), secret=secret)


@router.get("", response_model=EndpointList)
async def list_webhooks(edge: UsesEdge, identity: ReadsWebhooks) -> EndpointList:
    """The tenant's endpoints, oldest first."""
    async with edge.connection() as connection:
        rows = await store.endpoints(connection, identity.tenant_id)
    return EndpointList(data=[EndpointView(**endpoint_view(row)) for row in rows])


@router.get("/{endpoint_id}", response_model=EndpointView, responses=documented("not_found"))
async def get_webhook(
    endpoint_id: EndpointId, edge: UsesEdge, identity: ReadsWebhooks
) -> EndpointView:
    """One endpoint."""
    found: uuid.UUID = job_uuid(endpoint_id)
    async with edge.connection() as connection:
        row = await store.endpoint(connection, identity.tenant_id, found)
    if row is None:
        raise Problem("not_found")
    return EndpointView(**endpoint_view(row))


@router.patch(
    "/{endpoint_id}",
    response_model=EndpointView,
    openapi_extra=described(EndpointChange),
    responses=documented("not_found"),
)
async def change_webhook(
    endpoint_id: EndpointId, request: Request, edge: UsesEdge, identity: WritesWebhooks
) -> EndpointView:
    """Change an endpoint, or enable one again that was disabled."""
    found: uuid.UUID = job_uuid(endpoint_id)
    body = await read_body(request, EndpointChange)
    given = body.model_dump(include=body.model_fields_set)
    enabled = given.pop("enabled", None)
    fields = _checked(edge, given)
    async with edge.connection() as connection:
        row = await store.change_endpoint(
            connection, identity.tenant_id, found, fields, enabled=enabled
        )
        if row is None:
            raise Problem("not_found")
        changed = ",".join(sorted(body.model_fields_set))
        await _audit(connection, "webhook.changed", identity, found, {"changed": changed})
    return EndpointView(**endpoint_view(row))


@router.post(
    "/{endpoint_id}/rotate",
    response_model=NewSecretView,
    responses=documented("not_found"),
)
async def rotate_secret(
    endpoint_id: EndpointId, response: Response, edge: UsesEdge, identity: WritesWebhooks
) -> NewSecretView:
    """Give the endpoint a new secret. For a while the one before it signs too."""
    found: uuid.UUID = job_uuid(endpoint_id)
    async with edge.connection() as connection:
        done = await store.rotate(
            connection, identity.tenant_id, found, _keyring(edge), edge.settings.webhook_overlap
        )
        if done is None:
            raise Problem("not_found")
        await _audit(connection, "webhook.rotated", identity, found)
    row, secret = done
    response.headers["Cache-Control"] = "no-store"
    return NewSecretView(**endpoint_view(row), secret=secret)


@router.delete(
    "/{endpoint_id}",
    status_code=204,
    response_class=Response,
    responses=documented("not_found"),
)
async def remove_webhook(endpoint_id: EndpointId, edge: UsesEdge, identity: WritesWebhooks) -> None:
    """Remove an endpoint with its log; what is still due there is not sent."""
    found: uuid.UUID = job_uuid(endpoint_id)
    async with edge.connection() as connection:
        if not await store.remove_endpoint(connection, identity.tenant_id, found):
            raise Problem("not_found")
        await _audit(connection, "webhook.removed", identity, found)


async def _audit(
    connection: AsyncConnection,
    kind: Kind,
    identity: Identity,
    endpoint_id: uuid.UUID,
    details: Mapping[str, str] | None = None,
) -> None:
    await audit.note(
        connection,
        kind,
        identity.actor,
        identity.tenant_id,
        str(endpoint_id),
        details=details or {},
    )


def _keyring(edge: Edge) -> Keyring:
    return Keyring.of(edge.settings.secrets_key.get_secret_value())


def _checked(edge: Edge, fields: dict[str, Any]) -> dict[str, Any]:
    """The columns in ``fields``. Where the URL's name leads is checked when it is connected to."""
    if "url" in fields:
        if not web_url(fields["url"]):
            wrong = Violation("url", "invalid_url", "Use an http or https URL without a password.")
            raise Problem("invalid_request", errors=[wrong])
        _check_port(edge, fields["url"])
    if fields.get("events") is not None:
        fields["events"] = sorted(set(fields["events"]))
    return fields


def _check_port(edge: Edge, url: str) -> None:
    config = edge.settings
    reach = Reach.of(config.webhook_allow_private, config.webhook_deny, config.webhook_ports)
    try:
        reach.check_port(port_of(url))
    except ForbiddenPort:
        wrong = Violation("url", "forbidden_port", "Webhooks may not use this port.")
        raise Problem("invalid_request", errors=[wrong]) from None
