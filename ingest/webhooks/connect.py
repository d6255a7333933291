"""Connections to receivers: addresses are checked where the connection is made.

Two gates see every target. The resolver refuses a name as soon as one of its addresses is
forbidden. The socket factory sees the very address and port that are about to be connected to, so
literal addresses, other spellings and a name that resolves differently the second time (rebinding)
gain nothing: there is no look-up between the check and the connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from ingest.webhooks.address import Reach
from ingest.webhooks.names import SharedNames

SocketFactory = Callable[[AddrInfoType], socket.socket]

#: Below what common servers keep an idle connection for, so that it is seldom closed under a post.
_KEEP: Final = 4.0
_MAX_HEADER: Final = 8 * 1024


class FilteringResolver(AbstractResolver):
    """Resolves names, by default as the system does, and lets only allowed addresses through."""

    def __init__(self, reach: Reach, names: AbstractResolver | None = None) -> None:
        self._reach = reach
        self._names = names or SharedNames()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of ``host``.

        Raises:
            ForbiddenTarget: one of them may not be reached, or the port may not.
        """
        found = await self._names.resolve(host, port, family)
        for item in found:
            self._reach.check(item["host"], port)
        return found

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._names.close()


def checked_sockets(reach: Reach, make: SocketFactory | None = None) -> SocketFactory:
    """A factory of sockets for allowed addresses alone.

    Args:
        reach: What is allowed.
        make: What makes the socket once the address has passed; for tests.
    """
    build = make or _plain

    def checked(info: AddrInfoType) -> socket.socket:
        host, port = info[4][0], info[4][1]
        scope = info[4][3] if len(info[4]) > 3 else 0
        reach.check(f"{host}%{scope}" if scope else str(host), int(port))
        return build(info)

    return checked


def _plain(info: AddrInfoType) -> socket.socket:
    return socket.socket(info[0], info[1], info[2])


def open_session(reach: Reach, limit: int, seconds: float, **parts: Any) -> aiohttp.ClientSession:
    """A session that keeps nothing of receivers but their connections.

    Args:
        reach: Where it may go.
        limit: Connections at once.
        seconds: Deadline of an attempt, from the look-up to the answer's headers.
        parts: ``names`` (a resolver) and ``make`` (see :func:`checked_sockets`), for tests.
    """
    connector = aiohttp.TCPConnector(
        resolver=FilteringResolver(reach, parts.get("names")),
        socket_factory=checked_sockets(reach, parts.get("make")),
        use_dns_cache=False,
        limit=limit,
        keepalive_timeout=_KEEP,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=_MAX_HEADER,
        max_field_size=_MAX_HEADER,
        trace_configs=[_reuse()],
    )


def _reuse() -> aiohttp.TraceConfig:
    """Tells each request, by its ``trace_request_ctx`` (a dict), that its connection is not new."""
    config = aiohttp.TraceConfig()

    async def reused(_: aiohttp.ClientSession, context: Any, __: Any) -> None:
        context.trace_request_ctx["reused"] = True

    config.on_connection_reuseconn.append(reused)
    return config
