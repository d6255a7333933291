"""``/v1/tenants``: what each tenant may use, for those who run the deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import Field

from ingest.api.body import described, read_body
from ingest.api.edge import ReadsTenants, UsesEdge, WritesTenants
from ingest.api.path_ids import TenantId
from ingest.api.problems import Problem, documented
from ingest.models import Body, Moment, StrictBody
from ingest.shapes import WHOLE
from ingest.store import audit
from ingest.store import tenants as store
from schemas.job import TENANT, valid_tenant
from schemas.records import Tenant

router: Final = APIRouter(prefix="/v1/tenants", tags=["tenants"])
_MOST: Final = 1_000_000


class TenantBody(StrictBody):
    """A tenant's limits, all of them: what is left out or null gets the service's default."""

    rate_per_s: float | None = Field(
        None, gt=0, le=_MOST, description="Admissions per second, sustained."
    )
    burst: Annotated[int, WHOLE] | None = Field(
        None, ge=1, le=_MOST, description="Admissions at once."
    )
    max_in_flight: Annotated[int, WHOLE] | None = Field(
        None, ge=1, le=_MOST, description="Jobs waiting or running at once."
    )
    weight: float = Field(
        1.0, gt=0, le=1000, description="Share of the GPUs against other tenants."
    )
    suspended: bool = Field(
        False, description="It reads, downloads and cancels, but submits nothing."
    )


class TenantShown(Body):
    """A tenant's limits; null: the service's default."""

    tenant_id: str = Field(description="The tenant.")
    rate_per_s: float | None = Field(description="Admissions per second, sustained.")
    burst: int | None = Field(description="Admissions at once.")
    max_in_flight: int | None = Field(description="Jobs waiting or running at once.")
    weight: float = Field(description="Share of the GPUs against other tenants.")
    suspended: bool = Field(description="It reads, downloads and cancels, but submits nothing.")
    created_at: Moment = Field(description="When its limits were first set.")
    updated_at: Moment = Field(description="When they were last changed.")
    published: bool = Field(description="Whether Kafka, and so the scheduler, has them.")


class TenantPage(Body):
    """Tenants in the order of their ids."""

    data: list[TenantShown] = Field(description="The tenants whose limits were ever set.")
    next_cursor: str | None = Field(description="Where the next page begins; null: at no more.")


def _shown(row: Mapping[Any, Any]) -> TenantShown:
    return TenantShown.model_validate(
        {name: row[name] for name in ("tenant_id", *store.LIMITS, "created_at", "updated_at")}
        | {"published": row["told_version"] == row["version"]}
    )


@router.get("", response_model=TenantPage)
async def list_tenants(
    edge: UsesEdge,
    identity: ReadsTenants,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
    cursor: Annotated[
        str | None, Query(pattern=TENANT, description="The next_cursor of a page.")
    ] = None,
) -> TenantPage:
    """The tenants whose limits were ever set; any other has the service's defaults."""
    del identity
    async with edge.connection() as connection:
        rows = await store.page(connection, cursor or "", limit + 1)
    following = str(rows[limit - 1]["tenant_id"]) if len(rows) > limit else None
    return TenantPage(data=[_shown(row) for row in rows[:limit]], next_cursor=following)


@router.get("/{tenant_id}", response_model=TenantShown, responses=documented("not_found"))
async def get_tenant(tenant_id: TenantId, edge: UsesEdge, identity: ReadsTenants) -> TenantShown:
    """One tenant's limits; 404 when they were never set."""
    del identity
    _check(tenant_id)
    async with edge.connection() as connection:
        row = await store.get(connection, tenant_id)
    if row is None:
        raise Problem("not_found")
    return _shown(row)


def _check(tenant_id: str) -> None:
    if not valid_tenant(tenant_id):
        raise Problem("not_found")


@router.put(
    "/{tenant_id}",
    response_model=TenantShown,
    openapi_extra=described(TenantBody),
    responses=documented("not_found"),
)
async def put_tenant(
    request: Request, tenant_id: TenantId, edge: UsesEdge, identity: WritesTenants
) -> TenantShown:
    """Set all of a tenant's limits. A suspension counts from the tenant's next request on."""
    _check(tenant_id)
    body = await read_body(request, TenantBody)
    wanted = Tenant(tenant_id=tenant_id, **body.model_dump())
    async with edge.connection() as connection:
        before = await store.get(connection, tenant_id)
        changed = await store.put(connection, wanted)
        if changed is not None:
            await audit.note(
                connection,
                "tenant.changed",
                identity.actor,
                tenant_id,
                tenant_id,
                details=_differences(before, changed),
            )
        row = changed or await store.get(connection, tenant_id)
    if row is None:  # no route removes a tenant
        raise Problem("internal")
    return _shown(row)


def _differences(before: Mapping[Any, Any] | None, after: Mapping[Any, Any]) -> dict[str, str]:
    return {
        name: f"{'default' if before is None else before[name]} -> {after[name]}"
        for name in store.LIMITS
        if before is None or before[name] != after[name]
    }
