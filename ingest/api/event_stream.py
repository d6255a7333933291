"""Server-sent events out: a response that costs one task and a listener for as long as it is open.

FastAPI's own ``EventSourceResponse`` runs two more tasks, two memory streams and a timer for each
stream; ten thousand of them are what this is for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ingest.live.mailbox import Mailbox
from ingest.live.streams import Streams

MEDIA_TYPE: Final = "text/event-stream"
#: A client that takes nothing for so long is cut off; it can come back with its last id.
SEND_DEADLINE: Final = 20.0
#: What is sent at once: more would lie in memory for a slow client.
_PIECE: Final = 64 * 1024


class EventStream(Response):
    """Sends what a mailbox gets, until it ends.

    Args:
        streams: Where the mailbox is given back.
        box: What is sent.
        first: Sent before; an iterator that may read the database.
    """

    media_type = MEDIA_TYPE

    def __init__(self, streams: Streams, box: Mailbox, first: AsyncIterator[bytes]) -> None:
        # A proxy must neither keep what it sends nor hold it back.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._streams = streams
        self._box = box
        self._first = first

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream ends or the client goes."""
        box = self._box
        listening = asyncio.create_task(_listen(receive, box))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            # Past the deadline the response stays unfinished, so the server closes the connection.
            with contextlib.suppress(TimeoutError):
                await self._pump(send)
                await self._send(send, b"", more=False)
        finally:
            listening.cancel()
            self._streams.leave(box)

    async def _pump(self, send: Send) -> None:
        async for chunk in self._first:
            await self._send(send, chunk)
            if self._box.end not in {None, "terminal"}:
                return
        while chunk := await self._box.take():
            await self._send(send, chunk)

    async def _send(self, send: Send, chunk: bytes, *, more: bool = True) -> None:
        for start in range(0, len(chunk) or 1, _PIECE):
            piece = chunk[start : start + _PIECE]
            message = {"type": "http.response.body", "body": piece, "more_body": more}
            try:
                async with asyncio.timeout(SEND_DEADLINE) as self._box.sending:
                    await send(message)
            except TimeoutError:
                self._box.finish("slow")
                raise
            finally:
                self._box.sending = None


async def _listen(receive: Receive, box: Mailbox) -> None:
    """Note when the client goes."""
    while (await receive())["type"] != "http.disconnect":
        pass
    box.finish("gone")
