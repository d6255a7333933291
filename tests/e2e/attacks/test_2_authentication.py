"""API2: credentials that prove nothing, and ways around giving one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from joserfc.jwk import OctKey

from infra.stack import Stack
from tests.e2e.attacks.conftest import Raw
from tests.e2e.attacks.replica import replica
from tests.support.identity_provider import IdentityProvider
from tests.support.issuing import claims, new_key, signed


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@pytest.fixture(scope="module")
def trusting(
    stack: Stack, provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A second API process of the stack, which trusts an identity provider."""
    env = {"TTV_OIDC_ISSUERS": provider.url}
    with replica(stack, tmp_path_factory.mktemp("trusting"), env) as url:
        yield url


def _status(url: str, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"}
    return httpx2.get(f"{url}/v1/jobs", headers=headers, timeout=30).status_code


def _plain(head: dict[str, Any], body: dict[str, Any], tail: str = "") -> str:
    parts = (json.dumps(part).encode() for part in (head, body))
    return ".".join([*(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts), tail])


def _decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return found


def _forged(provider: IdentityProvider) -> dict[str, str]:
    """Tokens that an attacker makes who knows all that is public."""
    now = int(time.time())
    content = claims(iss=provider.url, iat=now, exp=now + 300, role="admin")
    [published] = provider.key_set["keys"]
    as_secret = OctKey.import_key(json.dumps(published))
    own = new_key()
    good = provider.token()
    head, body, tail = good.split(".")
    raised = _decoded(body) | {"role": "admin"}
    return {
        "no algorithm": _plain({"alg": "none", "kid": "k1"}, content),
        "no algorithm, in capitals": _plain({"alg": "nOnE", "kid": "k1"}, content),
        "no signature": f"{head}.{body}.",
        "another's signature": _plain(
            json.loads(base64.urlsafe_b64decode(head + "==")), raised, tail
        ),
        "the public key as a secret": _hmac(as_secret, content),
        "a key of its own": signed(own, content),
        "a key that it brings": signed(own, content, jwk=own.as_dict(private=False)),
        "a key set that it names": signed(own, content, jku="https://evil.example/jwks"),
        "a certificate that it names": signed(own, content, x5u="https://evil.example/x5"),
        "a key in a file": signed(own, content, key_id="../../../../etc/passwd"),
        "a key from a query": signed(own, content, key_id="' UNION SELECT 'x"),
        "critical headers": _plain({"alg": "ES256", "kid": "k1", "crit": ["exp"]}, content, tail),
        "expired": provider.token(exp=now - 3600),
        "of the future": provider.token(iat=now + 3600),
        "not yet": provider.token(nbf=now + 3600),
        "without an end": provider.token(exp=None),
        "for another": provider.token(aud="another"),
        "of another": provider.token(iss="https://evil.example"),
        "of no tenant": provider.token(tenant_id=None),
        "of a tenant that is a path": provider.token(tenant_id="../default"),
        "of a role of its own": provider.token(role="root"),
        "huge": provider.token(padding="x" * 20_000),
    }


def _hmac(key: OctKey, content: dict[str, Any]) -> str:
    """HS256 by hand: the library refuses to help with this one."""
    unsigned = _plain({"alg": "HS256", "kid": "k1"}, content)[:-1]
    mac = hmac.new(key.raw_value, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_a_token_that_was_forged_opens_nothing(trusting: str, provider: IdentityProvider) -> None:
    assert _status(trusting, provider.token()) == 200
    for name, token in _forged(provider).items():
        assert _status(trusting, token) in {401, 431}, name


KEYS = {
    "none": {},
    "a word": {"authorization": "Bearer"},
    "another scheme": {"authorization": "Basic YWRtaW46YWRtaW4="},
    "unknown": {"authorization": f"Bearer ttv_{'0' * 32}"},
    "long": {"authorization": "Bearer " + "k" * 4096},
    "a wildcard": {"x-api-key": "%"},
    "an array": {"x-api-key": "{*}"},
    "SQL": {"x-api-key": "' OR '1'='1"},
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_is_none_opens_nothing(stack: Stack, name: str) -> None:
    answer = httpx2.get(f"{stack.info.http}/v1/jobs", headers=KEYS[name], timeout=30)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_counts_in_its_header_alone(stack: Stack) -> None:
    for query in ("api_key", "access_token", "key", "authorization"):
        url = f"{stack.info.http}/v1/jobs?{query}={stack.info.api_key}"
        assert httpx2.get(url, timeout=30).status_code == 401
    cookies = {"authorization": f"Bearer {stack.info.api_key}"}
    assert httpx2.get(f"{stack.info.http}/v1/jobs", cookies=cookies, timeout=30).status_code == 401


def test_of_two_credentials_the_weaker_does_not_borrow_from_the_stronger(
    raw: Raw, key_of: Callable[[str, str], str]
) -> None:
    viewer = key_of("mallory", "viewer")
    answer = raw(
        b"GET /v1/keys HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        + f"authorization: Bearer {viewer}\r\nauthorization: Bearer nonsense\r\n\r\n".encode()
    )
    assert answer[9:12] in {b"400", b"401", b"403"}


def test_a_revoked_key_is_refused_at_once(stack: Stack) -> None:
    admin = {"authorization": f"Bearer {stack.info.api_key}"}
    with httpx2.Client(base_url=stack.info.http, headers=admin, timeout=30) as client:
        made = client.post("/v1/keys", json={"tenant_id": "mallory", "role": "viewer"}).json()
        assert _status(stack.info.http, made["key"]) == 200
        assert client.post(f"/v1/keys/{made['id']}/revoke").status_code == 200
        assert _status(stack.info.http, made["key"]) == 401
