from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from openai import OpenAI

from ingest.openai.events import event_body
from ingest.webhooks.payload import signed_headers

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
ENDED = datetime(2026, 3, 1, 12, 0, 5, 900_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "kind"), [("completed", "video.completed"), ("failed", "video.failed")]
)
def test_the_client_unwraps_the_event_of_an_end(status: str, kind: str) -> None:
    body = event_body({"job_id": "j", "status": status}, "evt_1", ENDED)
    assert body is not None
    assert json.loads(body) == {
        "id": "evt_1",
        "object": "event",
        "created_at": 1772366405,
        "type": kind,
        "data": {"id": "j"},
    }
    client = OpenAI(api_key="k", webhook_secret=SECRET)
    event: Any = client.webhooks.unwrap(
        body, signed_headers(SECRET, "msg_1", body, datetime.now(UTC))
    )
    assert (event.type, event.data.id) == (kind, "j")


def test_a_cancelled_video_has_no_event() -> None:
    assert event_body({"job_id": "j", "status": "cancelled"}, "evt_1", ENDED) is None
