"""``DELETE /v1/jobs/{id}``: the job is cancelled, and what its owner said is erased."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from ingest.api.bodies import Deletion, Json
from ingest.api.edge import Edge, EndsJobs, UsesEdge
from ingest.api.jobs import job_uuid, pass_on_cancel
from ingest.api.path_ids import JobId
from ingest.api.problems import Problem, documented
from ingest.identity.caller import Identity
from ingest.store import audit, erasures
from ingest.store.jobs import Row
from ingest.view import moment

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_ERASED: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "It was deleted before, and nothing is left to erase."}
}


@router.delete(
    "/{job_id}",
    status_code=202,
    response_model=Deletion,
    responses=documented("not_found") | _ERASED,
)
async def delete_job(job_id: JobId, edge: UsesEdge, identity: EndsJobs) -> Response:
    """Delete the job: from now on it is not found, and in no list.

    A running render is stopped. The prompt goes from the database at once; video and checkpoints
    go once the job's end is known. Repeat it to ask: 202 while something is left, then 204.
    """
    row = await erase(edge, identity, job_id)
    async with edge.connection() as connection:
        finished = await erasures.finished(connection, row["job_id"])
    if finished:
        return Response(status_code=204)
    shown = {
        "id": str(row["job_id"]),
        "object": "job.deleted",
        "deleted": True,
        "deleted_at": moment(row["deleted_at"]),
    }
    return Json(shown, 202)


async def erase(edge: Edge, identity: Identity, job_id: str) -> Row:
    """Delete the tenant's job, durably; harmless to repeat. Gives the tombstone.

    Raises:
        Problem: not_found.
    """
    found, now = job_uuid(job_id), datetime.now(UTC)
    async with edge.connection() as connection:
        done = await erasures.delete_job(
            connection, identity.tenant_id, found, now, edge.settings.relay_after
        )
        if done is None:
            raise Problem("not_found")
        row, new = done
        if new:
            await audit.note(
                connection, "job.deleted", identity.actor, identity.tenant_id, str(found)
            )
    if new and row["next_cancel_at"] is not None:
        await pass_on_cancel(edge, row)
    return row
