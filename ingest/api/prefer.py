"""``Prefer: wait=N`` (RFC 7240): a request that waits for its job, and says that it did."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Annotated, Final

from fastapi import Depends, Header, Request
from sqlalchemy.exc import SQLAlchemyError

from ingest.api.boundary import NO_LONGER_PENDING
from ingest.api.edge import Edge
from ingest.api.problems import Problem
from ingest.identity.caller import Identity
from ingest.live.hub import TooManyStreams
from ingest.live.mailbox import Mailbox
from ingest.live.openings import Opened, Row
from ingest.live.position import Position
from ingest.view import TERMINAL_STATUSES

#: Names, in the answer, what was waited.
APPLIED: Final = "Preference-Applied"
#: The longest wait that is applied; a longer one is cut to this.
MOST_SECONDS: Final = 60
#: What ends a wait.
END: Final = "end"
END_OR_CHANGE: Final = "change"
_MAX_HEADER: Final = 1024
_WAIT: Final = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(;.*)?', re.IGNORECASE)


def wait_seconds(header: str | None) -> int | None:
    """The wait in a ``Prefer`` header, cut to ``MOST_SECONDS``; None: there is none that counts.

    The first of several counts; what cannot be understood is ignored, as the RFC has it.
    """
    for preference in (header or "")[:_MAX_HEADER].split(","):
        found = _WAIT.fullmatch(preference)
        if found is not None:
            return min(int(found[1]), MOST_SECONDS) or None
    return None


async def prefers(
    prefer: Annotated[
        str | None, Header(description="`wait=N`: wait up to N seconds, 60 at most.")
    ] = None,
) -> int | None:
    """Seconds that the request would wait."""
    return wait_seconds(prefer)


Prefers = Annotated[int | None, Depends(prefers)]


async def waited(
    request: Request, edge: Edge, identity: Identity, row: Row, seconds: int, until: str
) -> bool:
    """Wait until the job has ended or changed, or the time is over.

    Args:
        request: What waits: from now on it is no part of this process's work.
        edge: Whose watcher wakes it.
        identity: Who waits: it counts among the tenant's streams.
        row: The tenant's job as it was read for this request.
        seconds: The longest wait.
        until: ``END``, or ``END_OR_CHANGE``.

    Returns:
        Whether the preference was applied; without room for one more stream it is not.

    Raises:
        Problem: unauthenticated, when the caller's key was revoked meanwhile.
    """
    request.scope[NO_LONGER_PENDING]()
    try:
        await edge.streams.begun()
        box = edge.streams.join(identity, row["job_id"], Position(), events_only=True)
    except (TooManyStreams, TimeoutError):
        return False
    try:
        # Only now: what comes after this look comes into the box.
        opened = await edge.streams.openings.look(row["job_id"])
        if opened is not None and not _over(opened, row, until):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await _woken(box, until)
    except (SQLAlchemyError, OSError, TimeoutError):
        return False
    finally:
        edge.streams.leave(box)
    if box.end == "revoked":
        raise Problem("unauthenticated")
    return True


def _over(opened: Opened, row: Row, until: str) -> bool:
    """Whether what is waited for came before the wait began."""
    now, events = opened
    if now["status"] in TERMINAL_STATUSES:
        return True
    last = events[-1]["offset"] if events else None
    return until == END_OR_CHANGE and last != row["event_offset"]


async def _woken(box: Mailbox, until: str) -> None:
    while await box.take() and box.end is None:
        if until == END_OR_CHANGE:
            return
