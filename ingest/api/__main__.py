"""``python -m ingest.api``: serve the API until told to stop."""

from __future__ import annotations

import uvicorn

from infra.settings import settings
from infra.telemetry import start
from ingest.api.app import create_app

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
        limit_concurrency=2000,
    )


if __name__ == "__main__":
    main()
