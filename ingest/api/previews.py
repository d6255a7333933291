"""``/v1/jobs/{id}/thumbnail`` and ``/spritesheet``: made when first asked for, then stored.

A picture lies at ``previews/TENANT/JOB/`` in the bucket, under a name that holds the video's digest
and the picture's version: what is there is what would be made now.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
from fastapi import APIRouter, Request
from starlette.responses import Response

from infra.telemetry import log
from ingest.api.bodies import NOT_MODIFIED
from ingest.api.edge import Edge, ReadsJobs, UsesEdge
from ingest.api.etag import matches
from ingest.api.jobs import job_row
from ingest.api.path_ids import JobId
from ingest.api.problems import Problem, documented
from ingest.api.video import artifact_of
from ingest.preview import Kind
from ingest.preview_pool import MAX_PICTURE, PreviewFailed, PreviewsBusy, make
from ingest.store.jobs import Row

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
#: No video of this service is larger; one that is was not made by it.
_MAX_VIDEO: Final = 512 * 1024 * 1024
_LINK: Final = timedelta(seconds=60)
_DEADLINE: Final = 30.0
_CHUNK: Final = 256 * 1024
#: Media type and version: another version is another object.
_FORM: Final[Mapping[Kind, tuple[str, str]]] = {
    "thumbnail": ("image/webp", "1.webp"),
    "spritesheet": ("image/jpeg", "1.jpg"),
}
_BINARY: Final = {"type": "string", "format": "binary"}
_CODES: Final = (
    "not_found",
    "job_deleted",
    "video_not_ready",
    "video_expired",
    "preview_failed",
)


def _documented(media: str) -> dict[int | str, dict[str, Any]]:
    picture = {"content": {media: {"schema": _BINARY}}, "description": "The picture."}
    return {200: picture, **NOT_MODIFIED, **documented(*_CODES)}


@router.get("/{job_id}/thumbnail", response_class=Response, responses=_documented("image/webp"))
async def get_thumbnail(
    request: Request, job_id: JobId, edge: UsesEdge, identity: ReadsJobs
) -> Response:
    """The frame in the middle of the video, WebP in the video's size."""
    row = await job_row(edge, identity.tenant_id, job_id)
    return await picture(edge, row, "thumbnail", request)


@router.get("/{job_id}/spritesheet", response_class=Response, responses=_documented("image/jpeg"))
async def get_spritesheet(
    request: Request, job_id: JobId, edge: UsesEdge, identity: ReadsJobs
) -> Response:
    """Up to 25 frames, evenly spread, in rows of five: a JPEG, each frame 160 pixels wide."""
    row = await job_row(edge, identity.tenant_id, job_id)
    return await picture(edge, row, "spritesheet", request)


def picture_key(row: Row, kind: Kind) -> str:
    """Where a picture is stored; all of a job's lie in one folder."""
    folder = f"previews/{row['tenant_id']}/{row['job_id']}"
    return f"{folder}/{kind}-{row['artifact']['sha256'][:32]}-{_FORM[kind][1]}"


async def picture(edge: Edge, row: Row, kind: Kind, request: Request) -> Response:
    """The answer that holds a job's picture.

    Raises:
        Problem: video_not_ready, video_expired, preview_failed, overloaded or
            dependency_unavailable.
    """
    artifact_of(row, datetime.now(UTC))
    key = picture_key(row, kind)
    headers = {"ETag": f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"'}
    headers["Cache-Control"] = "private, no-cache"
    if matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    content = await _fetch(edge, key) or await _make(edge, row, kind, key)
    return Response(content, headers=headers, media_type=_FORM[kind][0])


async def _make(edge: Edge, row: Row, kind: Kind, key: str) -> bytes:
    try:
        async with edge.previews.turn():
            known = await _fetch(edge, key)  # made while this request waited for its turn
            if known is not None:
                return known
            with tempfile.TemporaryDirectory(prefix="ttv-preview-") as folder:
                video = Path(folder) / "video.mp4"
                async with asyncio.timeout(_DEADLINE):
                    await _download(edge, row["artifact"], video)
                content = await make(kind, video, row["artifact"]["frames"])
    except PreviewsBusy:
        raise Problem("overloaded", "Too many pictures are being made.") from None
    except PreviewFailed:
        raise Problem("preview_failed") from None
    except TimeoutError:
        raise Problem("dependency_unavailable", "The object store is too slow.") from None
    await _keep(edge, row, key, content)
    return content


async def _download(edge: Edge, artifact: Mapping[str, Any], video: Path) -> None:
    if artifact["size"] > _MAX_VIDEO:
        raise PreviewFailed
    link = edge.store.presigned_get_object(artifact["bucket"], artifact["key"], expires=_LINK)
    seen, size = hashlib.sha256(), 0
    try:
        async with edge.http.get(link, allow_redirects=False) as answer:
            if answer.status != 200:
                raise Problem("dependency_unavailable", "The object store did not give the video.")
            with video.open("wb") as out:
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    size += len(chunk)
                    if size > artifact["size"]:
                        raise PreviewFailed
                    seen.update(chunk)
                    await asyncio.to_thread(out.write, chunk)
    except (aiohttp.ClientError, OSError):
        raise Problem("dependency_unavailable", "The object store does not answer.") from None
    if seen.hexdigest() != artifact["sha256"]:
        raise PreviewFailed


async def _fetch(edge: Edge, key: str) -> bytes | None:
    """A stored picture; None when there is none."""
    link = edge.store.presigned_get_object(edge.settings.s3_bucket, key, expires=_LINK)
    try:
        async with asyncio.timeout(_DEADLINE), edge.http.get(link, allow_redirects=False) as found:
            if found.status != 200:
                return None
            content = bytearray()
            async for chunk in found.content.iter_chunked(_CHUNK):
                content += chunk
                if len(content) > MAX_PICTURE:
                    return None
            return bytes(content)
    except (aiohttp.ClientError, OSError, TimeoutError):
        raise Problem("dependency_unavailable", "The object store does not answer.") from None


async def _keep(edge: Edge, row: Row, key: str, content: bytes) -> None:
    """Store the picture, unless its job went away meanwhile; it was made in any case."""
    bucket = edge.settings.s3_bucket
    try:
        async with asyncio.timeout(_DEADLINE):
            await asyncio.to_thread(
                edge.store.put_object, bucket, key, io.BytesIO(content), len(content)
            )
    except Exception as error:  # noqa: BLE001 whatever the store says, the picture is there
        log().warning("preview.not_stored", error=type(error).__name__)
        return
    if not await _still_there(edge, row):
        # What was stored after its folder was emptied goes as well.
        await asyncio.to_thread(edge.store.remove_object, bucket, key)
        raise Problem("not_found")


async def _still_there(edge: Edge, row: Row) -> bool:
    try:
        now = await job_row(edge, row["tenant_id"], str(row["job_id"]))
        artifact_of(now, datetime.now(UTC))
    except Problem:
        return False
    return True
