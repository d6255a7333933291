"""``python -m ingest.api``: serve the API until told to stop."""

from __future__ import annotations

import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from infra.settings import Settings, settings
from infra.telemetry import start
from ingest.api.app import create_app
from ingest.api.edge import Edge
from ingest.api.server import BACKLOG, MAX_UNFINISHED_HEAD, BoundedProtocol

_GRACE_SECONDS: Final = 10
#: The kernel drops a connection whose peer has taken nothing for so long: a slow reader that was
#: cut off would otherwise hold its socket for as long as it likes.
_UNREAD_MS: Final = 30_000
_REQUESTS_AT_ONCE: Final = 2000


class Server(uvicorn.Server):
    """Ends event streams first: a stop would wait for them, and they do not end by themselves."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        edge: Edge = self._app.state.edge
        edge.streams.end_all()
        await super().shutdown(sockets)


def main() -> None:
    """Serve on the address of the settings."""
    config = settings()
    start("api", config)
    app = create_app(config)
    served = uvicorn.Config(
        app,
        host=config.http_host,
        port=config.http_port,
        loop="uvloop",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=30,
        http=BoundedProtocol,
        ws="none",
        h11_max_incomplete_event_size=MAX_UNFINISHED_HEAD,
        limit_concurrency=config.http_connections,
        backlog=BACKLOG,
        proxy_headers=bool(config.trusted_proxies),
        forwarded_allow_ips=config.trusted_proxies,
    )
    Server(served, app).run(sockets=[_listener(config)])


def _listener(config: Settings) -> socket.socket:
    """The listening socket; what it accepts has its options."""
    found = socket.getaddrinfo(config.http_host, config.http_port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
    listener.bind(address)
    listener.set_inheritable(True)
    return listener


if __name__ == "__main__":
    main()
