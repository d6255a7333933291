"""``/v1/jobs/{id}/video``: a short-lived link to the object store, or the bytes through the API."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import aiohttp
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.responses import Response

from ingest.api.edge import Edge, ReadsJobs, UsesEdge
from ingest.api.jobs import job_row
from ingest.api.path_ids import JobId
from ingest.api.problems import Problem, documented
from ingest.identity.caller import Identity
from ingest.store import audit, links
from ingest.store import jobs as store
from ingest.view import moment

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_CHUNK: Final = 256 * 1024
_RANGE: Final = re.compile(r"bytes=(\d{1,15}-\d{0,15}|-\d{1,15})")


_VIDEO: Final = {"content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The MP4, with delivery=stream.", **_VIDEO},
    206: {"description": "The part of it that Range names.", **_VIDEO},
    304: {"description": "With delivery=stream: it is what If-None-Match named."},
    307: {"description": "A link that opens this one object, for a short time."},
}


@router.get(
    "/{job_id}/video",
    response_model=None,
    status_code=307,
    responses=documented(
        "not_found", "job_deleted", "video_not_ready", "video_expired", "range_not_satisfiable"
    )
    | _ANSWERS,
)
async def get_video(
    request: Request,
    job_id: JobId,
    edge: UsesEdge,
    identity: ReadsJobs,
    delivery: Annotated[
        Literal["redirect", "stream"],
        Query(description="redirect: a link; stream: the MP4, through this service."),
    ] = "redirect",
) -> Response:
    """The finished video: 307 to a link, or with ``delivery=stream`` the MP4 itself."""
    row = await job_row(edge, identity.tenant_id, job_id)
    now = datetime.now(UTC)
    artifact = artifact_of(row, now)
    link = presigned(edge, artifact, f"{row['job_id']}.mp4", link_life(edge, row, now))
    if delivery == "redirect":
        await _note_link(edge, identity, row["job_id"])
        return RedirectResponse(link, 307, {"Cache-Control": "no-store"})
    return await stream(edge, link, artifact, request)


async def _note_link(edge: Edge, identity: Identity, job_id: uuid.UUID) -> None:
    """Tell the audit topic, once a minute and job, of a link asked for while another works."""
    async with edge.connection() as connection:
        again = await links.issue(connection, job_id, edge.settings.download_ttl)
        if again and edge.seldom.due(("link.reissued", job_id), time.monotonic()):
            await audit.note(
                connection,
                "link.reissued",
                identity.actor,
                identity.tenant_id,
                str(job_id),
                outcome="seen",
            )


def artifact_of(row: store.Row, now: datetime) -> dict[str, Any]:
    """The job's video as it lies in the object store.

    Raises:
        Problem: video_not_ready, or video_expired: it is kept no longer.
    """
    artifact: dict[str, Any] | None = row["artifact"]
    if artifact is None:
        raise Problem("video_not_ready", f"The job is {row['status']}.")
    until = row["video_expires_at"]
    if row["video_gone_at"] is not None or (until is not None and until <= now):
        raise Problem("video_expired", f"It was kept until {moment(until)}.")
    return artifact


def link_life(edge: Edge, row: store.Row, now: datetime) -> int:
    """Seconds that a link to the video lives: never past the video."""
    until = row["video_expires_at"]
    most = edge.settings.download_ttl
    return most if until is None else max(1, min(most, int((until - now).total_seconds())))


def presigned(edge: Edge, artifact: dict[str, Any], name: str, seconds: int) -> str:
    """A link to one object that lives ``seconds``; made without a call."""
    return edge.store.presigned_get_object(
        artifact["bucket"],
        artifact["key"],
        expires=timedelta(seconds=seconds),
        response_headers={
            "response-content-type": "video/mp4",
            "response-content-disposition": f'attachment; filename="{name}"',
        },
    )


async def stream(edge: Edge, link: str, artifact: dict[str, Any], request: Request) -> Response:
    """The video through the API, or the part of it that ``request`` asks for.

    Raises:
        Problem: range_not_satisfiable or dependency_unavailable.
    """
    tag = f'"{artifact["sha256"]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    wanted = request.headers.get("range", "")
    current = request.headers.get("if-range", tag) == tag
    asked = {"Range": wanted} if current and _RANGE.fullmatch(wanted) else {}
    answer = await edge.fetch(link, asked)
    if answer.status not in {200, 206}:
        answer.release()
        if answer.status == 416:
            raise Problem("range_not_satisfiable", f"The video has {artifact['size']} bytes.")
        raise Problem("dependency_unavailable", "The object store did not give the video.")
    kept = {
        name: answer.headers[name]
        for name in ("Content-Length", "Content-Range")
        if name in answer.headers
    }
    headers = {"ETag": tag, "Accept-Ranges": "bytes", **kept}
    return StreamingResponse(_chunks(answer), answer.status, headers, media_type="video/mp4")


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_chunked(_CHUNK):
            yield chunk
    finally:
        answer.close()
