from __future__ import annotations

from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from ingest.api.boundary import Boundary


async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("a secret")


def test_what_nobody_caught_is_a_plain_problem() -> None:
    answer = TestClient(Boundary(fails, most_pending=1)).get("/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
