"""What a stream sends before it is live: the events between its client's place and the hub's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.live.frames import event_frame
from ingest.live.position import Position, Seal
from ingest.store import live
from schemas.states import TERMINAL_KINDS

Row = Mapping[Any, Any]
Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
_PAGE: Final = 200


def of_job(
    seal: Seal, tenant_id: str, events: Sequence[Row], since: Position, through: Mapping[int, int]
) -> tuple[bytes, bool]:
    """The frames of a job's events after one place and through another. Pure.

    Args:
        seal: Makes their ids.
        tenant_id: Whose job it is; events in another tenant's name are left out.
        events: All events of the job, in order.
        since: What the client has seen.
        through: The last offset that is not sent live, by partition.

    Returns:
        The frames, and whether the job's last event is among them or was seen before.
    """
    seen, frames, ended = dict(since.seen), [], False
    for row in events:
        partition, offset = row["partition"], row["offset"]
        covered = since.covers(partition, offset)
        live_later = offset > through.get(partition, -1) and not covered
        if row["tenant_id"] != tenant_id or live_later:
            continue
        ended = ended or row["kind"] in TERMINAL_KINDS
        if not covered:
            seen[partition] = offset
            frames.append(event_frame(row, seal.encode(tenant_id, seen)))
    return b"".join(frames), ended


async def of_tenant(
    connect: Connect, seal: Seal, tenant_id: str, since: Position, through: Mapping[int, int]
) -> AsyncIterator[bytes]:
    """The frames of a tenant's events after one place and through another, page by page.

    A connection is held while a page is read, never while it is sent. An id covers what was sent:
    partitions are gone through one after the other.
    """
    seen = dict(since.seen)
    while True:
        async with connect() as connection:
            rows = await live.events_of_tenant(connection, tenant_id, seen, through, _PAGE)
        frames = []
        for row in rows:
            seen[row["partition"]] = row["offset"]
            frames.append(event_frame(row, seal.encode(tenant_id, seen)))
        if frames:
            yield b"".join(frames)
        if len(rows) < _PAGE:
            return
