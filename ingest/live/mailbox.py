"""What one stream, or one waiting request, has yet to take: bounded, and cheap by the thousand."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Final, Literal

from ingest.identity.caller import Identity

#: Why a stream ended: its job has ended, its client is too slow or has gone, its caller may no
#: longer read, the process stops.
End = Literal["terminal", "slow", "gone", "revoked", "shutdown"]
#: What may wait for a slow client.
MAX_FRAMES: Final = 1000
MAX_BYTES: Final = 256 * 1024


class Mailbox:
    """Frames for one reader; a hub puts, one task takes.

    Attributes:
        identity: Who reads.
        job_id: The job whose events it gets; None: all of the tenant's.
        mark: Of the last progress report of its job that it got; see ``frames.progress_mark``.
        events_only: It gets neither progress nor beats: a request waits on it, no stream.
        end: Why nothing more comes, once that is so.
    """

    __slots__ = (
        "_ahead",
        "_frames",
        "_size",
        "_taken_at",
        "_waiter",
        "end",
        "events_only",
        "identity",
        "job_id",
        "mark",
        "sending",
    )

    def __init__(
        self,
        identity: Identity,
        job_id: uuid.UUID | None,
        ahead: Mapping[int, int] | None = None,
        mark: int = 0,
        *,
        events_only: bool = False,
    ) -> None:
        self.identity = identity
        self.job_id = job_id
        self.mark = mark
        self.events_only = events_only
        self.end: End | None = None
        #: The deadline of the send under way: an end moves it to now.
        self.sending: asyncio.Timeout | None = None
        # Places that the client has seen and this process has not: another replica was ahead.
        self._ahead = ahead or None
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._taken_at = 0.0

    def seen(self, partition: int, offset: int) -> bool:
        """Whether the client had the event of that place before it came here."""
        return self._ahead is not None and offset <= self._ahead.get(partition, -1)

    def put(self, frame: bytes, *, last: bool = False) -> None:
        """Add a frame; after the last one the stream ends. A full box ends it too."""
        if self.end is not None:
            return
        if len(self._frames) >= MAX_FRAMES or self._size + len(frame) > MAX_BYTES:
            self.finish("slow")
            return
        self._frames.append(frame)
        self._size += len(frame)
        if last:
            self.end = "terminal"
        self._wake()

    def beat(self, frame: bytes, now: float, interval: float) -> None:
        """Add ``frame`` if nothing was taken for an interval."""
        if not self.events_only and not self._frames and now - self._taken_at >= interval:
            self.put(frame)

    def finish(self, why: End) -> None:
        """End the stream now, whatever is left; also one that waits for its client to read."""
        if self.end in {None, "terminal"}:
            self.end = why
        self._frames.clear()
        if self.sending is not None:
            self.sending.reschedule(0)
        self._wake()

    async def take(self) -> bytes:
        """All that is there, once something is; empty when the stream has ended."""
        loop = asyncio.get_running_loop()
        if not self._frames and self.end is None:
            self._waiter = loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        taken = b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        self._taken_at = loop.time()
        return taken

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
