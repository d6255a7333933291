"""Is each dependency there? One real request each, as a client of the service would make it."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import minio
import redis
import urllib3
from confluent_kafka.admin import AdminClient

from infra.stack.info import S3

_REQUEST_SECONDS = 5.0
_PAUSE_SECONDS = 0.1

Probe = Callable[[], None]
_NO_LOGIN: Final[Mapping[str, Any]] = {}


class UnreachableError(Exception):
    """A dependency did not answer in time; ``name`` says which."""

    def __init__(self, name: str, reason: str) -> None:
        """``reason`` is what the last request met."""
        super().__init__(f"{name} is not reachable: {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True)
class Outcome:
    """What one probe found."""

    name: str
    address: str
    ok: bool
    detail: str


def kafka(bootstrap: str, login: Mapping[str, Any] = _NO_LOGIN) -> None:
    """Ask a broker for the cluster's metadata; ``login`` as librdkafka has it."""
    client = AdminClient(
        {"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 3000, **login}
    )
    client.list_topics(timeout=3.0)


def registry(url: str) -> None:
    """List the registry's subjects."""
    with urllib.request.urlopen(f"{url}/subjects", timeout=_REQUEST_SECONDS) as response:  # noqa: S310 - the operator's own URL
        response.read()


def s3(store: S3) -> None:
    """List the buckets, which checks the credentials too."""
    host = store.endpoint.split("://", 1)[1]
    http = urllib3.PoolManager(timeout=_REQUEST_SECONDS, retries=False)
    client = minio.Minio(
        host,
        access_key=store.access_key,
        secret_key=store.secret_key,
        secure=store.endpoint.startswith("https:"),
        region="us-east-1",
        http_client=http,
    )
    client.list_buckets()


def postgres(dsn: str) -> None:
    """Connect and ask for a row."""
    asyncio.run(_postgres(dsn))


async def _postgres(dsn: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=_REQUEST_SECONDS)
    try:
        await connection.fetchval("SELECT 1")
    finally:
        await connection.close()


def valkey(url: str) -> None:
    """Ping the server, which checks the password too."""
    with redis.Redis.from_url(
        url, socket_timeout=_REQUEST_SECONDS, socket_connect_timeout=_REQUEST_SECONDS
    ) as client:
        client.ping()


def http(url: str) -> None:
    """GET ``url`` and expect a success."""
    with urllib.request.urlopen(url, timeout=_REQUEST_SECONDS) as response:  # noqa: S310 - the operator's own URL
        response.read()


def check(name: str, address: str, probe: Probe) -> Outcome:
    """Run ``probe`` once; ``address`` is for the reader."""
    try:
        probe()
    except Exception as error:  # noqa: BLE001 - each client has errors of its own; all mean the same
        return Outcome(name, address, ok=False, detail=_words(error))
    return Outcome(name, address, ok=True, detail="")


def wait_for(
    probes: Mapping[str, Probe], timeout: float, alive: Callable[[], bool] = lambda: True
) -> None:
    """Repeat each probe until it succeeds.

    ``alive`` is asked between tries: once it says False there is nothing to wait for.

    Raises:
        UnreachableError: naming the first that still fails after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    for name, probe in probes.items():
        while not (outcome := check(name, "", probe)).ok:
            if time.monotonic() > deadline or not alive():
                raise UnreachableError(name, outcome.detail)
            time.sleep(_PAUSE_SECONDS)


def _words(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
