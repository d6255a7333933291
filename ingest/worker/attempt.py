"""One attempt at a delivery: signed, posted, and read no further than its status."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from sqlalchemy.engine import RowMapping
from yarl import URL

from infra.telemetry import traceparent
from ingest.webhooks.address import ForbiddenAddress, ForbiddenPort
from ingest.webhooks.backoff import retry_after
from ingest.webhooks.outcome import Answer
from ingest.webhooks.payload import signed_headers
from ingest.webhooks.sealing import Keyring, Unreadable

#: What is read of an answer, in bytes and seconds, so that its connection can be used again. What
#: is longer or slower is cut off; the status has been told by then.
MAX_ANSWER: Final = 64 * 1024
_DRAIN: Final = 0.5
_FIXED: Final = {"Content-Type": "application/json", "User-Agent": "ttv-webhooks/1"}

#: Errors in the words of the delivery log; the first that fits.
_WORDS: Final[Sequence[tuple[type[BaseException], str]]] = (
    (TimeoutError, "timeout"),
    (ForbiddenAddress, "forbidden_address"),
    (ForbiddenPort, "forbidden_port"),
    (socket.gaierror, "name_not_found"),
    (aiohttp.ClientConnectorDNSError, "name_not_found"),
    (aiohttp.ClientSSLError, "tls_failed"),
    (aiohttp.ServerDisconnectedError, "disconnected"),
    (aiohttp.ClientConnectorError, "connect_failed"),
    (aiohttp.ClientResponseError, "malformed_answer"),
    (aiohttp.InvalidURL, "invalid_url"),
    (aiohttp.ClientError, "disconnected"),
    (OSError, "disconnected"),
    (ValueError, "invalid_url"),
)


async def attempt(
    session: aiohttp.ClientSession, row: RowMapping, keyring: Keyring, own_secret: str
) -> Answer:
    """Post a claimed delivery once; whatever the receiver does, the answer says how it went.

    Args:
        session: Of :func:`ingest.webhooks.connect.open_session`, with its deadline.
        row: The delivery.
        keyring: Opens the endpoint's secrets.
        own_secret: Signs what goes to a job's own URL.
    """
    at, began = datetime.now(UTC), time.perf_counter()
    status: int | None = None
    word: str | None = None
    asked: float | None = None
    try:
        secrets = secrets_of(row, keyring) or [own_secret]
        status, asked = await _post(session, row, secrets, at)
        if not 200 <= status < 300:
            word = "redirect" if 300 <= status < 400 else "status"
    except Unreadable:
        word = "secret_unreadable"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        word = _word(error)
    return Answer(at, time.perf_counter() - began, status, word, asked)


def secrets_of(row: RowMapping, keyring: Keyring) -> list[str]:
    """The secrets that sign for the delivery's endpoint, the newest first; none for a job's URL.

    Raises:
        Unreadable: no key opens one.
    """
    stored = [row["secret"], row["previous_secret"]]
    owner = str(row["endpoint_id"])
    return [keyring.open(secret, owner) for secret in stored if secret is not None]


async def _post(
    session: aiohttp.ClientSession, row: RowMapping, secrets: Sequence[str], at: datetime
) -> tuple[int, float | None]:
    """The receiver's status, and the seconds that it asked to be left alone for."""
    headers = _FIXED | signed_headers(secrets, row["delivery_id"], row["payload"], at)
    parent = traceparent()
    if parent is not None:
        headers["traceparent"] = parent
    body, url = row["payload"].encode(), URL(row["url"], encoded=True)
    used: dict[str, Any] = {}
    try:
        return await _once(session, url, body, headers, used)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        if not used.get("reused"):
            raise
        # An idle connection that the receiver closed as it was taken up again says nothing of it.
        return await _once(session, url, body, headers, {})


async def _once(
    session: aiohttp.ClientSession,
    url: URL,
    body: bytes,
    headers: dict[str, str],
    used: dict[str, Any],
) -> tuple[int, float | None]:
    async with session.post(
        url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=used
    ) as response:
        await _drain(response)
        asked = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        return response.status, asked


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read what little a polite receiver says; what is left closes the connection."""
    content, left = response.content, MAX_ANSWER
    if content.at_eof():
        return
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN):
            while left > 0 and (part := await content.read(left)):
                left -= len(part)
    if not content.at_eof():
        response.close()


def _word(error: BaseException) -> str:
    """The word for what went wrong, by the cause where a gate refused the connection."""
    chain = [error]
    while (inner := chain[-1].__cause__) is not None and len(chain) < 5:
        chain.append(inner)
    for kind, word in _WORDS:
        if any(isinstance(link, kind) for link in chain):
            return word
    return "disconnected"
