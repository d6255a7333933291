"""Names into addresses, by the system's resolver, on threads that nothing else waits for.

A name whose servers never answer holds its thread for as long as the system tries. So a name is
looked up once at a time, whoever asks meanwhile, and there are threads for many such names.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

_THREADS: Final = 256
_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

Found = list[tuple[socket.AddressFamily, int, str]]


class SharedNames(AbstractResolver):
    """Look-ups of one event loop; nothing is kept of them once they are answered."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="names")
        self._asked: dict[tuple[str, socket.AddressFamily], asyncio.Future[Found]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of ``host`` for connections by TCP.

        Raises:
            socket.gaierror: there are none, or nobody knows.
        """
        key = (host, family)
        asked = self._asked.get(key)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, _look_up, host, family)
            self._asked[key] = asked
            asked.add_done_callback(lambda done: self._answered(key, done))
        # One who stops waiting leaves the look-up to the others.
        found = await asyncio.shield(asked)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=of, proto=proto, flags=_NUMERIC
            )
            for of, proto, address in found
        ]

    def _answered(self, key: tuple[str, socket.AddressFamily], done: asyncio.Future[Found]) -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # told to those who wait, if any still do

    async def close(self) -> None:
        """Start no more look-ups; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, family: socket.AddressFamily) -> Found:
    infos = socket.getaddrinfo(
        host, None, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    found: Found = []
    for of, _, proto, _, address in infos:
        # The scope of a link-local address goes along, so that it is seen to be one.
        scope = address[3] if len(address) > 3 else 0
        found.append((of, proto, f"{address[0]}%{scope}" if scope else str(address[0])))
    return found
