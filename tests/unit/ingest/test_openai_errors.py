from __future__ import annotations

import pytest

from ingest.openai.errors import owns, shaped, status_of
from schemas.job import Violation
from schemas.reasons import REASONS


@pytest.mark.parametrize("code", REASONS)
def test_every_problem_has_the_four_keys_and_a_status_that_clients_know(code: str) -> None:
    found = shaped(code, None, [], {})
    error = found.body.model_dump()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["type"]
    assert REASONS[code].title in error["message"]
    assert found.status == status_of(code) != 422


def test_the_first_broken_rule_is_the_error() -> None:
    errors = [Violation("size", "invalid_size", "Wider."), Violation("seed", "invalid", "Less.")]
    found = shaped("invalid_request", None, errors, {})
    assert found.status == 400
    assert found.body.error.param == "size"
    assert found.body.error.code == "invalid_size"
    assert found.body.error.message == "size: Wider. seed: Less."
    assert found.body.error.type == "invalid_request_error"


def test_a_client_repeats_what_may_change_and_nothing_else() -> None:
    for code in ("idempotency_conflict", "job_conflict", "video_not_ready", "preview_failed"):
        assert shaped(code, None, [], {}).headers["x-should-retry"] == "false"
    assert shaped("idempotency_conflict", None, [], {}).status == 409
    for code in ("overloaded", "rate_limited", "dependency_unavailable", "request_timeout"):
        assert "x-should-retry" not in shaped(code, None, [], {}).headers


def test_a_pause_is_told_in_milliseconds_too() -> None:
    found = shaped("rate_limited", None, [], {"Retry-After": "3"})
    assert found.status == 429
    assert found.headers == {"Retry-After": "3", "retry-after-ms": "3000"}


def test_only_paths_of_this_api_have_this_shape() -> None:
    assert [owns(p) for p in ("/v1/videos", "/v1/videos/", "/v1/videos/x/y")] == [True] * 3
    assert [owns(p) for p in ("/v1/videosx", "/v1/jobs", "/", "/x/v1/videos")] == [False] * 4
