"""A Valkey of a test's own: up in milliseconds, nothing on disk."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from infra.stack.identity import HOST, free_port
from infra.stack.servers import valkey_binary
from tests.support.wait import until


@contextmanager
def running_valkey(port: int | None = None) -> Iterator[str]:
    """A server at the URL that is given out, until the block ends."""
    port = port or free_port(set())
    argv = [str(valkey_binary()), "--bind", HOST, "--port", str(port), "--save", ""]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    url = f"redis://{HOST}:{port}/0"
    try:
        with redis.Redis.from_url(url) as client:
            until(lambda: _answers(client), 10)
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
