"""API4: much for little: sizes, counts, depth, and clients that take their time."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2
import pytest

from infra.stack import Stack
from tests.e2e.attacks.conftest import Raw
from tests.support.api import Api

MIB = 1024 * 1024


def _post(api: Api, content: bytes | Iterator[bytes], **headers: str) -> httpx2.Response:
    sent = {"content-type": "application/json"} | headers
    return api.http.post("/v1/jobs", content=content, headers=sent)


def test_a_zip_bomb_is_not_unpacked(api: Api) -> None:
    bomb = gzip.compress(b'{"prompt": "' + b"x" * (32 * MIB) + b'"}')
    answer = _post(api, bomb, **{"content-encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({f"k{n}": n for n in range(100_000)}).encode(),
        b'{"prompt": "' + b"x" * (8 * MIB) + b'"}',
    ],
    ids=["100,000 keys", "8 MiB prompt"],
)
def test_a_body_beyond_the_limit_is_cut_off(api: Api, content: bytes) -> None:
    assert _post(api, content).status_code == 413


def test_a_body_without_end_is_cut_off(api: Api) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 64 * 1024

    # Closed in the middle of it is as good an answer.
    with contextlib.suppress(httpx2.TransportError):
        assert _post(api, endless()).status_code == 413


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":' * 9000 + b"1" + b"}" * 9000,
        json.dumps({f"k{n}": n for n in range(4000)}).encode(),
        b'{"prompt": "x", "seed": ' + b"9" * 60_000 + b"}",
        json.dumps({"prompt": "x", "metadata": {f"k{n}": "v" for n in range(4000)}}).encode(),
    ],
    ids=["9,000 deep", "4,000 keys", "60,000 digits", "4,000 labels"],
)
def test_a_small_body_that_costs_much_is_refused(api: Api, content: bytes) -> None:
    assert _post(api, content).status_code in {400, 422}


@pytest.mark.parametrize(
    "query",
    ["limit=1000000000", "limit=-1", "limit=1e9", "cursor=" + "A" * 4000, "status=" + "x" * 2000],
)
def test_a_page_is_as_large_as_the_service_says(api: Api, query: str) -> None:
    assert api.http.get(f"/v1/jobs?{query}").status_code in {400, 414, 422}


def test_ranges_are_not_multiplied(api: Api) -> None:
    job = api.submit()
    api.await_status(job, "completed")
    size = len(api.video(job))
    headers = {"range": "bytes=" + ",".join(f"0-{n}" for n in range(500))}
    answer = api.http.get(f"/v1/jobs/{job}/video?delivery=stream", headers=headers)
    assert len(answer.content) <= size


def test_headers_beyond_the_limits_are_refused(raw: Raw) -> None:
    start = b"GET /v1/jobs HTTP/1.1\r\nhost: x\r\n"
    for flood in (
        b"x-much: " + b"y" * (256 * 1024) + b"\r\n",
        b"".join(b"x-%d: y\r\n" % n for n in range(20_000)),
    ):
        answer = raw(start + flood + b"\r\n")
        assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))


def test_a_target_beyond_the_limit_is_refused(raw: Raw) -> None:
    answer = raw(b"GET /v1/jobs?x=" + b"y" * (128 * 1024) + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 414", b"HTTP/1.1 431"))


def test_slow_clients_keep_nobody_else_waiting_and_are_let_go(stack: Stack, api: Api) -> None:
    url = urlsplit(stack.info.http)
    with ExitStack() as held:
        slow = [
            held.enter_context(socket.create_connection((url.hostname, url.port), timeout=60))
            for _ in range(200)
        ]
        for conn in slow:
            conn.sendall(b"POST /v1/jobs HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nx-")
        for _ in range(5):
            assert api.http.get("/healthz").status_code == 200
        deadline, ended = time.monotonic() + 45, False
        while not ended and time.monotonic() < deadline:
            try:
                slow[0].sendall(b"a")
                slow[0].settimeout(1)
                ended = slow[0].recv(1024) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended
