"""API9: nothing answers that is not documented."""

from __future__ import annotations

import httpx2
import pytest

from infra.stack import Stack
from tests.e2e.attacks.routes import documented_routes
from tests.support.api import fresh_id

#: What a prober or an orchestrator may ask without a key.
OPEN = {"/healthz", "/readyz", "/v1/openapi.json"}


def test_every_documented_route_asks_who_it_is(stack: Stack) -> None:
    with httpx2.Client(base_url=stack.info.http, timeout=30) as nobody:
        walked = list(documented_routes(nobody))
        assert len(walked) >= 20
        for route in walked:
            path = route.at(dict.fromkeys(route.parameters(), fresh_id()))
            status = nobody.request(route.method, path).status_code
            assert status == (200 if path in OPEN else 401), route


@pytest.mark.parametrize(
    "path",
    [
        "/docs", "/redoc", "/openapi.json", "/metrics", "/debug", "/admin", "/internal/jobs",
        "/v0/jobs", "/v2/jobs", "/v1", "/v1/jobs/", "/.git/config", "/.env", "/actuator",
        "/v1/users", "/graphql", "/server-status",
    ],
)  # fmt: skip
def test_what_others_leave_open_is_not_there(stack: Stack, path: str) -> None:
    headers = {"authorization": f"Bearer {stack.info.api_key}"}
    answer = httpx2.get(f"{stack.info.http}{path}", headers=headers, timeout=30)
    assert answer.status_code == 404
