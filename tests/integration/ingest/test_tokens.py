from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from infra.stack.identity import free_port
from schemas.records import AuditEvent
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.reading import records
from tests.support.identity_provider import IdentityProvider
from tests.support.wait import until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@pytest.fixture(scope="module")
def url(edge: EdgeStack, provider: IdentityProvider) -> Iterator[str]:
    """An API that trusts the provider."""
    port = free_port({edge.port})
    env = {
        "TTV_HTTP_PORT": str(port),
        "TTV_OIDC_ISSUERS": provider.url,
        "TTV_OIDC_JWKS_MIN_INTERVAL": "0.2",
    }
    process, _ = edge.api(env)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def call(
    url: str, token: str, method: str = "GET", path: str = "/v1/jobs", **fields: Any
) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token}"}
    return httpx2.request(method, url + path, headers=headers, timeout=30, **fields)


def refused(answer: httpx2.Response) -> bool:
    challenge = answer.headers.get("www-authenticate", "")
    return (answer.status_code, answer.json()["code"]) == (
        401,
        "invalid_token",
    ) and 'error="invalid_token"' in challenge


def told(edge: EdgeStack, kind: str) -> list[AuditEvent]:
    return [r.value for r in records(edge, edge.topics.audit, AuditEvent) if r.value.kind == kind]


def test_a_token_acts_for_its_tenant_in_its_role(url: str, provider: IdentityProvider) -> None:
    token = provider.token(tenant_id="tokens")
    job = call(url, token, "POST", json={"prompt": "by token"}).json()
    assert job["tenant_id"] == "tokens"
    assert call(url, token, path=f"/v1/jobs/{job['id']}").json()["id"] == job["id"]
    other = provider.token(tenant_id="others")
    assert call(url, other, path=f"/v1/jobs/{job['id']}").status_code == 404
    viewer = provider.token(tenant_id="tokens", role="viewer")
    assert call(url, viewer, "POST", json={"prompt": "no"}).status_code == 403


def test_tokens_that_prove_nothing_are_refused_and_say_what_to_do(
    url: str, provider: IdentityProvider
) -> None:
    now = int(time.time())
    good = provider.token()
    head, body, tail = good.split(".")
    for token in (
        provider.token(exp=now - 31),
        provider.token(nbf=now + 90),
        provider.token(aud="other"),
        provider.token(iss="https://other.example.com"),
        f"{head}.{body}.{tail[:-4]}AAAA",
        f"{head}.{body}.",
    ):
        answer = call(url, token)
        assert refused(answer)
        assert answer.json()["detail"].endswith(".")
        assert token not in answer.text
    assert call(url, good).status_code == 200


def test_a_service_that_trusts_no_issuer_takes_no_token(
    edge: EdgeStack, provider: IdentityProvider
) -> None:
    answer = call(f"http://127.0.0.1:{edge.port}", provider.token())
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_revoked_subjects_tokens_end_at_once_and_later_ones_count(
    edge: EdgeStack, api: httpx2.Client, url: str, provider: IdentityProvider
) -> None:
    token, other = provider.token(sub="leaver"), provider.token(sub="stayer")
    assert call(url, token).status_code == 200
    body = {"issuer": provider.url, "subject": "leaver"}
    assert call(url, token, "POST", "/v1/revocations", json=body).status_code == 403
    admin = provider.token(sub="boss", role="admin")
    assert call(url, admin, "POST", "/v1/revocations", json=body).status_code == 200
    assert refused(call(url, token))
    assert refused(call(url, provider.token(sub="leaver", iat=int(time.time()) + 25)))
    assert call(url, other).status_code == 200
    # Time passes faster here.
    edge.sql("UPDATE revoked_subjects SET revoked_at = revoked_at - interval '60 seconds'")
    assert call(url, provider.token(sub="leaver")).status_code == 200
    until(lambda: bool(told(edge, "subject.revoked")))
    [event] = told(edge, "subject.revoked")
    assert event.actor == f"token:{provider.url}#boss"
    assert event.subject == f"token:{provider.url}#leaver"
    unknown = api.post("/v1/revocations", json=body)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid_request")


def test_a_clock_that_is_ahead_is_refused_and_told_of_once(
    edge: EdgeStack, url: str, provider: IdentityProvider
) -> None:
    for _ in range(3):
        assert refused(call(url, provider.token(iat=int(time.time()) + 300)))
    until(lambda: bool(told(edge, "clock.skew")))
    [event] = told(edge, "clock.skew")
    assert event.details["issuer"] == provider.url
    assert 295 <= int(event.details["seconds"]) <= 300


def test_rotated_keys_are_taken_up_and_the_last_ones_count_while_the_provider_is_away(
    url: str, provider: IdentityProvider
) -> None:
    old = provider.token()
    assert call(url, old).status_code == 200
    provider.rotate("k2")
    new = provider.token()
    until(lambda: call(url, new).status_code == 200)
    assert refused(call(url, old))

    def away(handler: Any) -> None:
        handler.send_response(503)
        handler.end_headers()

    provider.misbehave = away
    provider.rotate("k3")
    newest = provider.token()
    try:
        until(lambda: call(url, newest).status_code == 503)
        assert call(url, newest).json()["code"] == "dependency_unavailable"
        assert call(url, new).status_code == 200
    finally:
        provider.misbehave = None
    until(lambda: call(url, newest).status_code == 200)
