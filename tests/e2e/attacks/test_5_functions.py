"""API5: what a role may not do, tried anyway."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from infra.stack import Stack
from tests.support.api import fresh_id

SUBMIT = ("POST", "/v1/jobs")
CASES = {
    "viewer": [
        SUBMIT,
        ("POST", "/v1/videos"),
        ("POST", f"/v1/jobs/{fresh_id()}/cancel"),
        ("DELETE", f"/v1/jobs/{fresh_id()}"),
        ("POST", "/v1/webhooks"),
        ("DELETE", f"/v1/webhooks/{fresh_id()}"),
        ("GET", "/v1/dead-letters"),
        ("GET", "/v1/keys"),
    ],
    "creator": [
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("GET", "/v1/tenants"),
        ("PUT", "/v1/tenants/mallory"),
        ("GET", "/v1/dead-letters"),
    ],
    "operator": [("POST", "/v1/keys"), ("PUT", "/v1/tenants/mallory")],
}


@pytest.mark.parametrize("role", CASES)
def test_a_role_does_not_do_what_another_may(
    stack: Stack, key_of: Callable[[str, str], str], role: str
) -> None:
    headers = {"authorization": f"Bearer {key_of('mallory', role)}"}
    with httpx2.Client(base_url=stack.info.http, headers=headers, timeout=30) as client:
        for method, path in CASES[role]:
            body = {"prompt": "x"} if method in {"POST", "PUT"} else None
            answer = client.request(method, path, json=body)
            assert answer.status_code == 403, (method, path, answer.text)


@pytest.mark.parametrize(
    "header", ["x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url"]
)
def test_a_header_changes_neither_method_nor_path(
    stack: Stack, key_of: Callable[[str, str], str], header: str
) -> None:
    value = "DELETE" if "method" in header else "/v1/keys"
    sent = {"authorization": f"Bearer {key_of('mallory', 'viewer')}", header: value}
    answer = httpx2.get(f"{stack.info.http}/v1/jobs", headers=sent, timeout=30)
    assert answer.status_code == 200
    assert "data" in answer.json()
