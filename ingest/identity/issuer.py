"""An OpenID provider: where its keys are, and the keys, fetched within bounds and kept."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from infra.settings import safe_key_url
from infra.telemetry import log
from ingest.identity.key_ring import KeyRing
from ingest.identity.public_key import PublicKey, keys_of
from ingest.identity.token import InvalidToken
from ingest.metrics import JWKS_FETCHES
from ingest.strict_json import MalformedJson, parse_object

_DISCOVERY: Final = "/.well-known/openid-configuration"
_DEADLINE: Final = 5.0
_MAX_BYTES: Final = 256 * 1024


class IssuerAway(Exception):
    """The issuer's keys cannot be had now, and none that are known will do."""


class _NotFetched(Exception):
    """The issuer did not give its keys; the message says why."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How an issuer's keys are kept, in seconds; see :class:`KeyRing`."""

    refresh: float
    min_interval: float
    keep: float


class Issuer:
    """One issuer.

    Args:
        url: Its ``iss``, exactly.
        jwks_url: Where its keys are; None: as its discovery document says.
        keeping: How they are kept.
        http: For the fetches.
    """

    def __init__(
        self, url: str, jwks_url: str | None, keeping: Keeping, http: aiohttp.ClientSession
    ) -> None:
        self.url = url
        self._jwks_url = jwks_url
        self._http = http
        self._ring = KeyRing(keeping.refresh, keeping.min_interval, keeping.keep)
        self._fetch: asyncio.Task[None] | None = None

    async def key(self, key_id: str) -> PublicKey:
        """The key of that id.

        A key that is known is given at once, while a fetch that is due goes on beside it.

        Raises:
            InvalidToken: the issuer has no such key.
            IssuerAway: it might have one, but does not answer.
        """
        now = time.monotonic()
        if self._ring.due(key_id, now) and self._fetch is None:
            self._ring.trying(now)
            self._fetch = asyncio.create_task(self._fetched())
            self._fetch.add_done_callback(self._done)
        found = self._ring.find(key_id, now)
        if found is None and self._fetch is not None:
            await asyncio.shield(self._fetch)
            found = self._ring.find(key_id, time.monotonic())
        if found is not None:
            return found
        if self._ring.away:
            raise IssuerAway(self.url)
        raise InvalidToken("unknown_key", "Its issuer has no such key: get a new token.")

    async def close(self) -> None:
        """End a fetch under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait({self._fetch})

    def _done(self, task: asyncio.Task[None]) -> None:
        del task
        self._fetch = None

    async def _fetched(self) -> None:
        """Fetch the keys. Whatever goes wrong is logged: the ring knows that it is without."""
        try:
            async with asyncio.timeout(_DEADLINE):
                keys = keys_of(await self._object(self._jwks_url or await self._discovered()))
            if not keys:
                raise _NotFetched("the key set has no usable key")  # noqa: TRY301 logged below
        except (aiohttp.ClientError, OSError, ValueError, _NotFetched) as error:
            why = str(error) if isinstance(error, _NotFetched) else type(error).__name__
            log().warning("jwks.failed", issuer=self.url, why=why)
            JWKS_FETCHES.labels("failed").inc()
            return
        self._ring.loaded(keys, time.monotonic())
        JWKS_FETCHES.labels("fetched").inc()

    async def _discovered(self) -> str:
        document = await self._object(self.url.rstrip("/") + _DISCOVERY)
        if document.get("issuer") != self.url:
            raise _NotFetched("the discovery document is another issuer's")
        address = document.get("jwks_uri")
        if not isinstance(address, str) or not safe_key_url(address):
            raise _NotFetched("the discovery document names no https address of the keys")
        return address

    async def _object(self, url: str) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._http.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200 or "Content-Encoding" in answer.headers:
                raise _NotFetched(f"status {answer.status}, or encoded")
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise _NotFetched(f"more than {_MAX_BYTES} bytes")
        try:
            return parse_object(bytes(content))
        except MalformedJson as error:
            raise _NotFetched(f"malformed JSON: {error}") from None
