"""``GET /v1/jobs/{id}/events`` and ``GET /v1/events``: what happens to jobs, as it happens."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Response
from sqlalchemy.exc import SQLAlchemyError

from ingest.api.edge import Edge, ReadsJobs, UsesEdge, database_errors
from ingest.api.event_stream import MEDIA_TYPE, EventStream
from ingest.api.jobs import job_uuid
from ingest.api.path_ids import JobId
from ingest.api.problems import Problem, documented
from ingest.identity.caller import Identity
from ingest.live import catch_up
from ingest.live.frames import opening
from ingest.live.hub import TooManyStreams
from ingest.live.mailbox import Mailbox
from ingest.live.position import MAX_ID, InvalidPosition, Position
from schemas.job import Violation

router: Final = APIRouter(tags=["events"])
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": (
            "Server-sent events. Each is named for the kind of its job event, or `progress`; its "
            "data is one JSON object with `job_id`; its id goes into `Last-Event-ID`."
        ),
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}
#: Longest id that is looked at, and what its characters are.
_ID: Final = {"maxLength": MAX_ID, "pattern": "^[A-Za-z0-9_-]*$"}


async def resume_from(
    edge: UsesEdge,
    identity: ReadsJobs,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="The id of the last event that was received.",
            json_schema_extra=_ID,
        ),
    ] = None,
) -> Position | None:
    """Where the client's stream broke off; None: it has not had one.

    Raises:
        Problem: the id is none of this tenant's, or the database does not answer.
    """
    with database_errors():
        await edge.streams.begun()
    if not last_event_id:
        return None
    try:
        return edge.streams.hub.seal.decode(identity.tenant_id, last_event_id)
    except InvalidPosition as error:
        wrong = Violation("Last-Event-ID", "invalid_cursor", f"{error}.")
        raise Problem("invalid_request", errors=[wrong]) from None


Since = Annotated[Position | None, Depends(resume_from)]


@router.get(
    "/v1/jobs/{job_id}/events",
    status_code=200,
    response_class=EventStream,
    responses=_STREAM
    | {204: {"description": "The job has ended and all its events were received."}}
    | documented("too_many_streams", "not_found"),
)
async def stream_job(job_id: JobId, edge: UsesEdge, identity: ReadsJobs, since: Since) -> Response:
    """Every event of one job from its first, or from ``Last-Event-ID``, then its end."""
    found, streams = job_uuid(job_id), edge.streams
    from_there = since or Position()
    through = dict(streams.hub.position)
    box = _join(edge, identity, found, from_there)
    try:
        events = await _events(edge, identity.tenant_id, found)
        frames, ended = catch_up.of_job(
            streams.hub.seal, identity.tenant_id, events, from_there, through
        )
    except BaseException:
        streams.leave(box)
        raise
    if ended:
        box.put(b"", last=True)
    if ended and not frames:
        streams.leave(box)
        return Response(status_code=204)  # what tells an EventSource not to come back
    return EventStream(streams, box, _one(opening(None) + frames))


@router.get(
    "/v1/events",
    status_code=200,
    response_class=EventStream,
    responses=_STREAM | documented("too_many_streams"),
)
async def stream_tenant(edge: UsesEdge, identity: ReadsJobs, since: Since) -> Response:
    """What happens to any of the tenant's jobs, from now or from ``Last-Event-ID``, for ever."""
    through = dict(edge.streams.hub.position)
    box = _join(edge, identity, None, since or Position())
    return EventStream(edge.streams, box, _missed(edge, identity, since, through))


async def _events(edge: Edge, tenant_id: str, job_id: uuid.UUID) -> Sequence[Mapping[Any, Any]]:
    with database_errors():
        opened = await edge.streams.openings.look(job_id)
    if opened is None or opened[0]["tenant_id"] != tenant_id:
        raise Problem("not_found")
    return opened[1]


def _join(edge: Edge, identity: Identity, job_id: uuid.UUID | None, since: Position) -> Mailbox:
    try:
        return edge.streams.join(identity, job_id, since)
    except TooManyStreams:
        raise Problem("too_many_streams") from None


async def _one(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


async def _missed(
    edge: Edge, identity: Identity, since: Position | None, through: Mapping[int, int]
) -> AsyncIterator[bytes]:
    """What the client missed; to one that is new, the id of where it begins."""
    seal, tenant = edge.streams.hub.seal, identity.tenant_id
    if since is None:
        yield opening(seal.encode(tenant, through))
        return
    yield opening(None)
    pages = catch_up.of_tenant(edge.database.connect, seal, tenant, since, through)
    try:
        async with edge.streams.catching_up:
            async for page in pages:
                yield page
    except (SQLAlchemyError, OSError) as error:
        # The answer has begun: it breaks off, and the client comes back with the last id it got.
        raise ConnectionError("the database does not answer") from error
