from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from ingest.read_model import Placed, job_columns
from ingest.webhooks.payload import delivery_id, payload, signed_headers, target_of
from tests.unit.ingest.events import happened, job

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def test_the_reference_library_accepts_the_signature_and_no_other_body() -> None:
    body = '{"type":"job.completed"}'
    headers = signed_headers(SECRET, "msg_1", body, datetime.now(UTC))
    assert Webhook(SECRET).verify(body, headers) == {"type": "job.completed"}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + " ", headers)


def test_the_id_depends_on_event_and_endpoint_alone() -> None:
    assert delivery_id("e", "a") == delivery_id("e", "a")
    assert len({delivery_id("e", "a"), delivery_id("e", "b"), delivery_id("f", "a")}) == 3


def test_the_body_holds_the_public_job_and_links_that_lead_there() -> None:
    event = happened(job(), "Completed")[0]
    row = job_columns(Placed(event, 0, 0))
    content = json.loads(payload(row, event.occurred_at, "https://api.example"))
    assert content["type"] == "job.completed"
    assert content["data"]["links"]["video"] == f"https://api.example/v1/jobs/{event.job_id}/video"
    assert "key" not in content["data"]["artifact"]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://Example.com/a?b", "https://example.com:443"),
        ("http://example.com:8080", "http://example.com:8080"),
        ("http://[::1]/x", "http://::1:80"),
    ],
)
def test_receivers_are_told_apart_by_scheme_host_and_port(url: str, target: str) -> None:
    assert target_of(url) == target
