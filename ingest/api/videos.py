"""``/v1/videos``: the same jobs, as the ``openai`` client speaks of them.

Nothing here decides anything about a job: bodies are put into the terms of ``/v1/jobs``, rows into
OpenAI's shapes. Errors below this path get their shape in ``problems.answer``.
"""

from __future__ import annotations

import re
import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from starlette.responses import Response

from infra.crash import crash_point
from infra.telemetry import traceparent
from ingest.api.bodies import NOT_MODIFIED
from ingest.api.body import json_body, read_object
from ingest.api.deletion import erase
from ingest.api.edge import (
    Edge,
    EndsJobs,
    ReadsJobs,
    SubmitsJobs,
    UsesEdge,
    WritesJobs,
)
from ingest.api.form import ignore_body, read_form
from ingest.api.idempotency import IdempotencyKey, plain_key
from ingest.api.jobs import CONFLICTS, REFUSALS, hand_over, job_row
from ingest.api.moderated import allow
from ingest.api.path_ids import VideoId
from ingest.api.previews import picture
from ingest.api.problems import Problem
from ingest.api.video import artifact_of, link_life, presigned, stream
from ingest.cursor import Position
from ingest.identity.caller import Identity
from ingest.listing import Filters
from ingest.metrics import SUBMITTED
from ingest.openai import creating, shapes
from ingest.openai.errors import ROOT, ErrorBody, described
from ingest.openai.mapping import poll_after_ms
from ingest.store import creates, listing
from ingest.store import jobs as store
from ingest.submission import InvalidSubmission, Submission, submission
from schemas.job import Violation, canonical_job_id

router: Final = APIRouter(prefix=ROOT, tags=["openai"])
_COUNT: Final = re.compile(r"[0-9]{1,4}")
_POLL: Final = "openai-poll-after-ms"
#: What is said of a body that may come in two ways.
_BODY: Final = json_body(creating.VideoBody)
_BODY["requestBody"]["content"] |= {"multipart/form-data": {"schema": creating.form_schema()}}
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_CONTENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The MP4, or the picture that was asked for.",
        "content": dict.fromkeys(("video/mp4", "image/webp", "image/jpeg"), _BINARY),
    },
    206: {
        "description": "The part of the MP4 that Range names.",
        "content": {"video/mp4": _BINARY},
    },
}


def _clock() -> float:
    return time.monotonic()


Began = Annotated[float, Depends(_clock)]
After = Annotated[
    str | None, Query(description="The last one's id.", json_schema_extra={"format": "uuid"})
]
RetryCount = Annotated[
    str | None,
    Header(alias="x-stainless-retry-count", description="Set by OpenAI's clients on a retry."),
]


@router.post(
    "",
    response_model=shapes.Video,
    openapi_extra=_BODY,
    responses=described(
        *REFUSALS,
        "job_conflict",
    ),
)
async def create_video(
    began: Began,
    request: Request,
    response: Response,
    edge: UsesEdge,
    identity: SubmitsJobs,
    idempotency_key: IdempotencyKey = None,
    retry_count: RetryCount = None,
) -> shapes.Video:
    """Create a video. A client's retry within ten minutes is answered with the first one's."""
    key = plain_key(idempotency_key)
    asked = await _asked(request, edge, identity)
    await allow(edge, asked.request, identity.actor)
    if await edge.overloaded():
        SUBMITTED.labels("overloaded").inc()
        raise Problem("overloaded")
    create = creates.Create(str(identity.key_id), asked.fingerprint(), _retries(retry_count), began)
    done = await _commit(edge, asked, key, create)
    if done.created:
        crash_point("after_submit_commit")
        edge.submitted()
        await hand_over(edge, done.row)
    SUBMITTED.labels("created" if done.created else "repeated").inc()
    response.headers[_POLL] = _poll(done.row)
    return shapes.video(done.row)


async def _asked(request: Request, edge: Edge, identity: Identity) -> Submission:
    body: dict[str, Any] = {}
    try:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media == "multipart/form-data":
            form = await read_form(request)
            body = creating.form_body(form.fields, form.file)
        else:
            body = await read_object(request)
        now = datetime.now(UTC)
        return submission(creating.job_body(body), identity.tenant_id, now, (edge.settings.pool,))
    except InvalidSubmission as error:
        raise Problem("invalid_request", errors=creating.renamed(body, error.errors)) from None


async def _commit(
    edge: Edge, asked: Submission, key: str | None, create: creates.Create
) -> store.Submitted:
    now, job_id = datetime.now(UTC), store.job_id_for(asked)
    row = store.row_for(asked, job_id, now, edge.settings.relay_after, traceparent())
    try:
        async with edge.using_database():
            if key is not None:
                return await store.submit(edge.database, row, key, create.fingerprint)
            return await creates.submit(edge.database, row, create)
    except tuple(CONFLICTS) as error:
        SUBMITTED.labels("conflict").inc()
        raise Problem(*CONFLICTS[type(error)]) from None


def _retries(text: str | None) -> int:
    """How often the client says that it tried before; nonsense is a first try."""
    return int(text) if text is not None and _COUNT.fullmatch(text) else 0


def _poll(row: store.Row) -> str:
    age = datetime.now(UTC) - row["created_at"]
    return str(poll_after_ms(age.total_seconds()))


@router.get("", response_model=shapes.VideoList, responses=described("not_found"))
async def list_videos(
    edge: UsesEdge,
    identity: ReadsJobs,
    after: After = None,
    limit: Annotated[int, Query(ge=0, le=100, description="At most so many.")] = 20,
    order: Annotated[
        Literal["asc", "desc"], Query(description="By age; desc: newest first.")
    ] = "desc",
) -> shapes.VideoList:
    """The tenant's videos, whichever API they were asked for through."""
    async with edge.connection() as connection:
        start: Position | None = None
        if after is not None:
            start = await listing.position(connection, identity.tenant_id, _listed(after))
            if start is None:
                raise _unknown_after()
        wanted = Filters(ascending=order == "asc")
        rows = await listing.page(connection, identity.tenant_id, wanted, start, limit + 1)
    return shapes.page(rows, limit)


def _listed(after: str) -> uuid.UUID:
    job_id = canonical_job_id(after)
    if job_id is None:
        raise _unknown_after()
    return uuid.UUID(job_id)


def _unknown_after() -> Problem:
    wrong = Violation("after", "invalid_cursor", "Use the id of a video from a page before.")
    return Problem("not_found", errors=[wrong])


_NO_MORE: Final[dict[str, Any]] = {
    "status_code": 404,
    "response_model": ErrorBody,
    "response_description": "`unsupported`: Mochi-1 makes videos from text alone.",
}


@router.post("/edits", name="edit_video", **_NO_MORE)
@router.post("/extensions", name="extend_video", **_NO_MORE)
@router.post("/characters", name="create_character", **_NO_MORE)
async def refuse_upload(request: Request, identity: WritesJobs) -> ErrorBody:
    """What a text-to-video model cannot do."""
    del identity
    await ignore_body(request)
    raise Problem("unsupported")


@router.post("/{video_id}/remix", name="remix_video", **_NO_MORE)
async def refuse_remix(request: Request, video_id: VideoId, identity: WritesJobs) -> ErrorBody:
    """A video is made from text alone, and from no other video."""
    del identity, video_id
    await ignore_body(request)
    raise Problem("unsupported")


@router.get("/characters/{character_id}", name="get_character", **_NO_MORE)
async def refuse_character(
    character_id: Annotated[str, Path(description="Of whatever.")], identity: ReadsJobs
) -> ErrorBody:
    """There are no characters."""
    del identity, character_id
    raise Problem("unsupported")


@router.get(
    "/{video_id}", response_model=shapes.Video, responses=described("not_found", "job_deleted")
)
async def retrieve_video(
    video_id: VideoId, response: Response, edge: UsesEdge, identity: ReadsJobs
) -> shapes.Video:
    """One video. `openai-poll-after-ms` says when to ask again."""
    row = await job_row(edge, identity.tenant_id, video_id)
    response.headers[_POLL] = _poll(row)
    return shapes.video(row)


@router.delete(
    "/{video_id}",
    response_model=shapes.VideoDeleted,
    responses=described("not_found"),
)
async def delete_video(
    video_id: VideoId, edge: UsesEdge, identity: EndsJobs
) -> shapes.VideoDeleted:
    """Delete a video. One that is being made is stopped on its GPU first."""
    row = await erase(edge, identity, video_id)
    return shapes.VideoDeleted(id=str(row["job_id"]), deleted=True, object="video.deleted")


@router.get(
    "/{video_id}/content",
    response_class=Response,
    responses=_CONTENT
    | NOT_MODIFIED
    | described(
        "not_found",
        "job_deleted",
        "video_not_ready",
        "video_expired",
        "range_not_satisfiable",
        "preview_failed",
    ),
)
async def get_content(
    request: Request,
    video_id: VideoId,
    edge: UsesEdge,
    identity: ReadsJobs,
    variant: Annotated[
        Literal["video", "thumbnail", "spritesheet"], Query(description="What is wanted.")
    ] = "video",
) -> Response:
    """The video or a picture of it. It never redirects: a client's key stays with this service."""
    row = await job_row(edge, identity.tenant_id, video_id)
    if variant != "video":
        return await picture(edge, row, variant, request)
    now = datetime.now(UTC)
    artifact = artifact_of(row, now)
    link = presigned(edge, artifact, f"{row['job_id']}.mp4", link_life(edge, row, now))
    return await stream(edge, link, artifact, request)
