"""API3: fields that are not the caller's to set, or to see."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.support.api import SMALL, Api


@pytest.mark.parametrize(
    "field",
    [
        {"tenant_id": "default"},
        {"status": "completed"},
        {"artifact": {"key": "videos/other.mp4"}},
        {"parent_job_id": "00000000-0000-4000-8000-000000000000"},
        {"attempt": 9},
        {"__proto__": {"role": "admin"}},
        {"created_at": "2001-01-01T00:00:00Z"},
    ],
    ids=lambda field: str(*field),
)
def test_a_field_that_is_not_the_clients_is_refused(
    stranger: httpx2.Client, field: dict[str, Any]
) -> None:
    answer = stranger.post("/v1/jobs", json={"prompt": "a fox", **SMALL, **field})
    assert answer.status_code == 422
    assert {error["code"] for error in answer.json()["errors"]} == {"unknown_field"}


def test_an_endpoint_cannot_bring_a_secret_or_a_tenant_of_its_choice(
    stranger: httpx2.Client,
) -> None:
    for field in ({"tenant_id": "default"}, {"secret": "whsec_AAAA"}, {"id": "1"}):
        body = {"url": "http://127.0.0.1:9999/hook", **field}
        assert stranger.post("/v1/webhooks", json=body).status_code == 422


def test_no_answer_shows_what_is_the_services_own(api: Api) -> None:
    job = api.submit(webhook_url="http://127.0.0.1:9999/hook")
    api.http.post("/v1/webhooks", json={"url": "http://127.0.0.1:9999/hook"})
    shown = api.http.get(f"/v1/jobs/{job}").text + api.http.get("/v1/webhooks").text
    for name in ('"secret"', '"traceparent"', '"request"', '"key_hash"', '"event_offset"'):
        assert name not in shown
