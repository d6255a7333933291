"""``GET /v1/jobs``: a tenant's jobs, by what they have in common, page by page."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ingest import cursor
from ingest.api.bodies import JobPage, Json
from ingest.api.edge import ReadsJobs, UsesEdge
from ingest.api.jobs import shown_all
from ingest.api.problems import Problem
from ingest.listing import LABEL, InvalidFilters, ListQuery, filters
from ingest.shapes import PRINTABLE
from ingest.store import listing as store
from schemas.job import MAX_METADATA, MAX_METADATA_BYTES, Violation

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
#: What FastAPI cannot say of a query string: names that the client chooses.
_LABELS: Final = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "required": False,
            "style": "form",
            "explode": True,
            "description": "metadata.NAME=VALUE: jobs with this label. Several: with all of them.",
            "schema": {
                "type": "object",
                "maxProperties": MAX_METADATA,
                "propertyNames": {"pattern": f"^{LABEL.replace('.', '[.]')}[ -~]{{0,64}}$"},
                "additionalProperties": {
                    "type": "string",
                    "maxLength": MAX_METADATA_BYTES,
                    "pattern": PRINTABLE,
                },
            },
        }
    ]
}


@router.get(
    "",
    response_model=JobPage,
    openapi_extra=_LABELS,
)
async def list_jobs(
    request: Request,
    edge: UsesEdge,
    identity: ReadsJobs,
    query: Annotated[ListQuery, Query()],
) -> Response:
    """The tenant's jobs.

    Whoever follows the cursors to the end has seen, once, every job that was there at the
    beginning, whatever arrives meanwhile.
    """
    try:
        wanted = filters(query, request.query_params.multi_items())
        of = wanted.of(identity.tenant_id)
        position = None if query.cursor is None else cursor.decode(query.cursor, of)
    except InvalidFilters as error:
        raise Problem("invalid_request", errors=error.errors) from None
    except cursor.InvalidCursor as error:
        wrong = Violation("cursor", "invalid_cursor", f"{error}.")
        raise Problem("invalid_request", errors=[wrong]) from None
    async with edge.connection() as connection:
        rows = await store.page(connection, identity.tenant_id, wanted, position, query.limit + 1)
    following = None
    if len(rows) > query.limit:
        last = rows[query.limit - 1]
        following = cursor.encode(cursor.Position(last["created_at"], last["job_id"]), of)
    shown: dict[str, Any] = {"data": await shown_all(edge, rows[: query.limit])}
    return Json(shown | {"next_cursor": following})
