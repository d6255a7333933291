from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import openai
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from ingest.read_model import Placed, job_columns
from ingest.webhooks.payload import (
    delivery_id,
    lane_of,
    openai_payload,
    payload,
    signed_headers,
    trial_payload,
)
from tests.unit.ingest.events import happened, job

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def test_the_reference_library_accepts_the_signature_and_no_other_body() -> None:
    body = '{"type":"job.completed"}'
    headers = signed_headers([SECRET], "msg_1", body, datetime.now(UTC))
    assert Webhook(SECRET).verify(body, headers) == {"type": "job.completed"}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + " ", headers)


def test_two_secrets_give_two_signatures_and_either_verifies() -> None:
    other = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXI="
    headers = signed_headers([other, SECRET], "msg_1", "{}", datetime.now(UTC))
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, other):
        assert Webhook(secret).verify("{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_bm9uZS1ub25lLW5vbmUtbm9uZQ==").verify("{}", headers)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("Completed", "video.completed"),
        ("Failed", "video.failed"),
        ("Refused", "video.failed"),
        ("Expired", "video.failed"),
    ],
)
def test_the_openai_client_unwraps_what_is_sent_in_its_shape(kind: str, told: str) -> None:
    job_id, at = uuid.uuid4(), datetime(2026, 3, 1, 12, tzinfo=UTC)
    body = openai_payload(kind, job_id, at, str(uuid.uuid4()))
    assert body is not None
    headers = signed_headers([SECRET], "msg_1", body, datetime.now(UTC))
    client = openai.OpenAI(api_key="none", webhook_secret=SECRET)
    event = client.webhooks.unwrap(body, headers)
    assert (event.type, event.object, event.created_at) == (told, "event", int(at.timestamp()))
    assert event.id.startswith("evt_")
    assert getattr(event.data, "id", None) == str(job_id)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body.replace(told, "video.other"), headers)


def test_openai_is_told_the_same_of_the_same_event_and_nothing_of_a_cancelled_one() -> None:
    at, event = datetime(2026, 3, 1, tzinfo=UTC), str(uuid.uuid4())
    job_id = uuid.uuid4()
    made = [openai_payload("Completed", job_id, at, event) for _ in range(2)]
    assert made[0] == made[1]
    assert openai_payload("Cancelled", job_id, at, event) is None


def test_a_test_has_the_shape_of_its_endpoints_events() -> None:
    at, endpoint = datetime(2026, 3, 1, tzinfo=UTC), str(uuid.uuid4())
    native = json.loads(trial_payload("native", endpoint, at, uuid.uuid4().hex))
    assert native["type"] == "webhook.test"
    assert native["data"] == {"webhook_id": endpoint}
    other = json.loads(trial_payload("openai", endpoint, at, uuid.uuid4().hex))
    assert (other["object"], other["type"]) == ("event", "webhook.test")


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
    ("url", "lane"),
    [
        ("https://Example.com/a?b", "t https://example.com:443"),
        ("http://example.com:8080", "t http://example.com:8080"),
        ("http://[::1]/x", "t http://::1:80"),
    ],
)
def test_lanes_are_told_apart_by_tenant_scheme_host_and_port(url: str, lane: str) -> None:
    assert lane_of("t", url) == lane
    assert lane_of("other", url) != lane
