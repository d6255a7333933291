"""``/v1/jobs/{id}/video``: a short-lived link to the object store, or the bytes through the API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

import aiohttp
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.responses import Response

from ingest.api.edge import Edge, ReadsJobs, UsesEdge
from ingest.api.jobs import job_row
from ingest.api.problems import Problem

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_CHUNK: Final = 256 * 1024
_RANGE: Final = re.compile(r"bytes=(\d{1,15}-\d{0,15}|-\d{1,15})")


@router.get("/{job_id}/video", response_model=None, status_code=307)
async def get_video(
    request: Request,
    job_id: str,
    edge: UsesEdge,
    identity: ReadsJobs,
    delivery: Annotated[Literal["redirect", "stream"], Query()] = "redirect",
) -> Response:
    """The finished video: 307 to a link, or with ``delivery=stream`` the MP4 itself."""
    row = await job_row(edge, identity.tenant_id, job_id)
    artifact = row["artifact"]
    if artifact is None:
        raise Problem("video_not_ready", f"The job is {row['status']}.")
    link = presigned(edge, artifact, f"{row['job_id']}.mp4")
    if delivery == "redirect":
        return RedirectResponse(link, 307, {"Cache-Control": "no-store"})
    return await _stream(edge, link, artifact, request)


def presigned(edge: Edge, artifact: dict[str, Any], name: str) -> str:
    """A link to one object, for as long as the settings say; made without a call."""
    return edge.store.presigned_get_object(
        artifact["bucket"],
        artifact["key"],
        expires=timedelta(seconds=edge.settings.download_ttl),
        response_headers={
            "response-content-type": "video/mp4",
            "response-content-disposition": f'attachment; filename="{name}"',
        },
    )


async def _stream(edge: Edge, link: str, artifact: dict[str, Any], request: Request) -> Response:
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
