"""``python -m ingest.api``: serve the API until told to stop."""

from __future__ import annotations

import uvicorn

from infra.settings import settings
from infra.telemetry import start
from ingest.api.app import create_app
from ingest.api.server import BACKLOG, MAX_UNFINISHED_HEAD, BoundedProtocol

_GRACE_SECONDS = 10


def main() -> None:
    """Serve on the address of the settings."""
    config = settings()
    start("api", config)
    uvicorn.run(
        create_app(config),
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


if __name__ == "__main__":
    main()
