"""``/v1/jobs/{id}/manifest``: what it takes to render a job's video again and compare."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
from fastapi import APIRouter
from starlette.responses import Response

from ingest.api.bodies import ManifestBody
from ingest.api.edge import Edge, ReadsJobs, UsesEdge
from ingest.api.jobs import job_row
from ingest.api.path_ids import JobId
from ingest.api.problems import Problem, documented
from ingest.api.video import artifact_of

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
#: The guard takes no larger manifest.
_MOST: Final = 64 * 1024
_LINK_SECONDS: Final = 60
_VIDEO: Final = ".mp4"


@router.get(
    "/{job_id}/manifest",
    response_model=ManifestBody,
    responses=documented("not_found", "job_deleted", "video_not_ready", "video_expired"),
)
async def get_manifest(job_id: JobId, edge: UsesEdge, identity: ReadsJobs) -> Response:
    """The manifest beside the finished video, as it was sealed; its ETag is its SHA-256."""
    row = await job_row(edge, identity.tenant_id, job_id)
    artifact = artifact_of(row, datetime.now(UTC))
    stem = artifact["key"].removesuffix(_VIDEO)
    sealed = sealed_manifest(await _fetch(edge, artifact["bucket"], f"{stem}.json"), artifact)
    content = await _fetch(edge, artifact["bucket"], f"{stem}.manifest.json")
    if sealed is None or content is None or hashlib.sha256(content).hexdigest() != sealed:
        raise Problem("not_found", "The video has no manifest that its seal vouches for.")
    headers = {"ETag": f'"{sealed}"', "Cache-Control": "no-store"}
    return Response(content, headers=headers, media_type="application/json")


def sealed_manifest(seal: bytes | None, artifact: dict[str, Any]) -> str | None:
    """SHA-256 of the manifest that a seal vouches for; None: it vouches for none.

    Args:
        seal: The bytes beside the video; nothing in them is trusted.
        artifact: As the job's terminal event names it: the seal must be of these bytes.
    """
    try:
        found = json.loads(seal or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if (found.get("key"), found.get("sha256")) != (artifact["key"], artifact["sha256"]):
        return None
    digest = found.get("manifest_sha256")
    return digest if isinstance(digest, str) else None


async def _fetch(edge: Edge, bucket: str, key: str) -> bytes | None:
    """A small object; None when it is not there or not small."""
    link = edge.store.presigned_get_object(bucket, key, expires=timedelta(seconds=_LINK_SECONDS))
    try:
        async with await edge.fetch(link, {}) as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise Problem("dependency_unavailable", "The object store did not give it.")
            content = await answer.content.read(_MOST + 1)
            while len(content) <= _MOST and (more := await answer.content.read(_MOST)):
                content += more
            return content if len(content) <= _MOST else None
    except (aiohttp.ClientError, OSError, TimeoutError):
        raise Problem("dependency_unavailable", "The object store does not answer.") from None
