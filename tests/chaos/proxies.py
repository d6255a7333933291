"""A TCP proxy before one server: slow, half-open or refusing, for as long as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Final, Literal

Mode = Literal["open", "slow", "half-open", "refused"]

_CHUNK: Final = 64 * 1024
#: What each piece of a slow connection waits for.
DELAY: Final = 0.25


class Link:
    """The way of one part to one server.

    - ``slow``: every piece waits for DELAY, in both directions.
    - ``half-open``: connections stay, and nothing comes through any more; those that were silent
      so are broken when it ends, as the other side has forgotten them.
    - ``refused``: connections are broken, and new ones are at once.

    Attributes:
        port: Where it listens on loopback.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: int) -> None:
        self._loop = loop
        self._upstream = upstream
        self._mode: Mode = "open"
        self._moving = asyncio.Event()
        self._moving.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])

    async def serve(self) -> None:
        """Listen until cancelled."""
        server = await asyncio.start_server(self._connected, sock=self._socket)
        async with server:
            await server.serve_forever()

    def set(self, mode: Mode) -> None:
        """Behave so from now on. From any thread; returns once it does."""
        asyncio.run_coroutine_threadsafe(self._set(mode), self._loop).result(10)

    async def _set(self, mode: Mode) -> None:
        before, self._mode = self._mode, mode
        if mode == "refused" or before == "half-open":
            for writer in self._writers:
                writer.transport.abort()
        if mode == "half-open":
            self._moving.clear()
        else:
            self._moving.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "refused":
            writer.transport.abort()
            return
        self._writers.add(writer)
        await self._moving.wait()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            self._let_go(writer)
            return
        self._writers.add(back)
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._let_go(writer)
            self._let_go(back)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_CHUNK):
                if self._mode == "slow":
                    await asyncio.sleep(DELAY)
                await self._moving.wait()
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
            return
        # A killed process leaves a reset, not an end: the other side must hear of it too.
        writer.transport.abort()

    def _let_go(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()


class Links:
    """Proxies by part and server, on a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[None]] = []
        self._links: dict[tuple[str, str], Link] = {}
        self._thread.start()

    def add(self, part: str, server: str, upstream: int) -> Link:
        """A proxy through which ``part`` reaches ``server``, which listens on ``upstream``."""
        return asyncio.run_coroutine_threadsafe(
            self._add(part, server, upstream), self._loop
        ).result(10)

    async def _add(self, part: str, server: str, upstream: int) -> Link:
        link = self._links[part, server] = Link(self._loop, upstream)
        self._tasks.append(asyncio.ensure_future(link.serve()))
        return link

    def __getitem__(self, ends: tuple[str, str]) -> Link:
        """The proxy between a part and a server. Raises KeyError if there is none."""
        return self._links[ends]

    def close(self) -> None:
        """Break every connection and stop listening."""

        async def end() -> None:
            for link in self._links.values():
                await link._set("refused")
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
