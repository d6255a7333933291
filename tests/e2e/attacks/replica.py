"""One more API process of the stack, set up otherwise than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from infra.stack import Stack
from infra.stack.identity import free_port
from infra.stack.services import environment
from tests.integration.ingest.edge_stack import Process
from tests.support.wait import until


@contextmanager
def replica(stack: Stack, folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Its address; it must live until the end."""
    port = free_port(set())
    log = folder / "api.log"
    settings = environment(stack.info) | {"TTV_HTTP_PORT": str(port), **env}
    process, url = Process("ingest.api", settings, log), f"http://127.0.0.1:{port}"
    try:
        until(lambda: _ready(url), 60, log.read_text)
        yield url
        assert process.alive()
    finally:
        process.stop()


def _ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
