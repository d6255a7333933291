"""An issuer's keys, fetched from a real server on 127.0.0.1 that behaves, or does not."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler

import aiohttp
import pytest

from ingest.identity import issuer as module
from ingest.identity.issuer import Issuer, IssuerAway, Keeping
from ingest.identity.token import InvalidToken
from tests.support.identity_provider import DISCOVERY, JWKS, MOVED, IdentityProvider

#: Due again at once.
EAGER = Keeping(refresh=300, min_interval=1e-9, keep=3600)


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@contextlib.asynccontextmanager
async def issuer(
    provider: IdentityProvider, keeping: Keeping = EAGER, jwks_url: str | None = None
) -> AsyncIterator[Issuer]:
    async with aiohttp.ClientSession() as http:
        made = Issuer(provider.url, jwks_url, keeping, http)
        try:
            yield made
        finally:
            await made.close()


async def test_keys_are_discovered_and_fetched_once_for_many_tokens(
    provider: IdentityProvider,
) -> None:
    async with issuer(provider) as found:
        await asyncio.gather(*(found.key("k1") for _ in range(50)))
    assert provider.fetched == {DISCOVERY: 1, JWKS: 1}


async def test_a_given_address_of_the_keys_needs_no_discovery(provider: IdentityProvider) -> None:
    async with issuer(provider, jwks_url=provider.url + JWKS) as found:
        await found.key("k1")
    assert provider.fetched == {JWKS: 1}


async def test_a_rotated_key_is_taken_up_and_the_withdrawn_one_refused(
    provider: IdentityProvider,
) -> None:
    async with issuer(provider) as found:
        await found.key("k1")
        provider.rotate("k2")
        await found.key("k2")
        with pytest.raises(InvalidToken) as caught:
            await found.key("k1")
    assert caught.value.why == "unknown_key"


async def test_strangers_ids_cause_one_fetch_an_interval(provider: IdentityProvider) -> None:
    async with issuer(provider, Keeping(300, 60, 3600)) as found:
        await found.key("k1")
        for n in range(100):
            with pytest.raises(InvalidToken):
                await found.key(f"stranger{n}")
    assert provider.fetched[JWKS] == 1


def _redirect(handler: BaseHTTPRequestHandler) -> bool:
    if handler.path != DISCOVERY:
        return True
    handler.send_response(302)
    handler.send_header("Location", MOVED)
    handler.end_headers()
    return False


def _fail(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(500)
    handler.end_headers()


def _bomb(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.wfile.write(gzip.compress(b"[" * 10_000_000))


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b" " * 65536)


def _garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"<html>")


def _late(_: BaseHTTPRequestHandler) -> bool:
    time.sleep(1.0)
    return True


@pytest.mark.parametrize("misbehaviour", [_redirect, _fail, _bomb, _endless, _garbage, _late])
async def test_an_issuer_that_misbehaves_is_away_and_its_last_keys_count(
    provider: IdentityProvider,
    monkeypatch: pytest.MonkeyPatch,
    misbehaviour: object,
) -> None:
    monkeypatch.setattr(module, "_DEADLINE", 0.5)
    async with issuer(provider) as found:
        await found.key("k1")
        provider.misbehave = misbehaviour  # type: ignore[assignment]
        with pytest.raises(IssuerAway):
            await found.key("k2")
        await found.key("k1")
        provider.misbehave = None
        provider.rotate("k2")
        await found.key("k2")


async def test_compressed_keys_are_not_taken(provider: IdentityProvider) -> None:
    provider.zipped = True
    async with issuer(provider) as found:
        with pytest.raises(IssuerAway):
            await found.key("k1")


async def test_keys_that_are_longer_than_their_bound_are_not_taken(
    provider: IdentityProvider,
) -> None:
    provider.padding = 300 * 1024
    async with issuer(provider) as found:
        with pytest.raises(IssuerAway):
            await found.key("k1")
        provider.padding = 200 * 1024
        await found.key("k1")


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://other.example.com"},
        {"jwks_uri": "http://keys.example.com/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
    ],
)
async def test_a_discovery_document_that_points_elsewhere_is_not_followed(
    provider: IdentityProvider, document: dict[str, str]
) -> None:
    provider.discovery |= document
    async with issuer(provider) as found:
        with pytest.raises(IssuerAway):
            await found.key("k1")
    assert provider.fetched == {DISCOVERY: 1}
