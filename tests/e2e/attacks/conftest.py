"""An attacker's means, and what must hold when all attacks are over."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2
import pytest

from infra.stack import Stack
from tests.e2e.attacks.metrics import refusals
from tests.support.api import Api

Raw = Callable[[bytes], bytes]
_MOST = 64 * 1024


@pytest.fixture(scope="package", autouse=True)
def _unharmed(stack: Stack, api: Api) -> Iterator[None]:
    """Every process lives through all attacks, jobs still run, and what was refused is counted."""
    before = {each.name: each.pid for each in stack.info.processes}
    counted = refusals(stack.info)
    yield
    api.await_status(api.submit(), "completed")
    after = {each.name: each.pid for each in stack.info.processes}
    assert after == before
    assert refusals(stack.info) > counted


@pytest.fixture(scope="package")
def key_of(stack: Stack) -> Callable[[str, str], str]:
    """Makes a key of a tenant with a role."""

    def make(tenant_id: str, role: str) -> str:
        body = {"tenant_id": tenant_id, "role": role, "name": "attacks"}
        headers = {"authorization": f"Bearer {stack.info.api_key}"}
        answer = httpx2.post(f"{stack.info.http}/v1/keys", json=body, headers=headers, timeout=30)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    return make


@pytest.fixture(scope="package")
def stranger(stack: Stack, key_of: Callable[[str, str], str]) -> Iterator[httpx2.Client]:
    """Another tenant's client, who may do whatever a tenant may."""
    headers = {"authorization": f"Bearer {key_of('mallory', 'creator')}"}
    with httpx2.Client(base_url=stack.info.http, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def raw(stack: Stack) -> Raw:
    """Sends bytes as they are, and gives what came back until the server closed or paused."""
    url = urlsplit(stack.info.http)

    def send(content: bytes) -> bytes:
        with socket.create_connection((url.hostname, url.port), timeout=10) as conn:
            conn.settimeout(2)
            answer = b""
            # It may close while we still send: what it said is there to be read.
            with suppress(OSError):
                conn.sendall(content)
            with suppress(OSError):
                while len(answer) < _MOST and (chunk := conn.recv(_MOST)):
                    answer += chunk
            return answer

    return send
