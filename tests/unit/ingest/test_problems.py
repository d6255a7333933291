from __future__ import annotations

import json

import pytest

from ingest.api.problems import MEDIA_TYPE, Problem, answer
from schemas.job import Violation
from schemas.reasons import REASONS


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_reason_is_a_problem(code: str) -> None:
    response = answer(Problem(code))
    body = json.loads(bytes(response.body))
    assert response.headers["content-type"] == MEDIA_TYPE
    assert (body["code"], body["status"]) == (code, response.status_code)
    assert body["title"] == REASONS[code].title
    assert body["detail"] == REASONS[code].remedy
    assert ("retry-after" in response.headers) == (
        code in {"overloaded", "dependency_unavailable", "rate_limited", "too_many_streams"}
    )


def test_broken_rules_are_listed_and_bounded() -> None:
    rules = [Violation(f"f{n}", "invalid", "Change it.") for n in range(500)]
    body = json.loads(bytes(answer(Problem("invalid_request", errors=rules)).body))
    assert body["errors"][0] == {"field": "f0", "code": "invalid", "message": "Change it."}
    assert len(body["errors"]) == 20
