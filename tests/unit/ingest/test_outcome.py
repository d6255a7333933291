from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.webhooks.backoff import SCHEDULE
from ingest.webhooks.outcome import Answer, outcome

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(**changes: Any) -> dict[str, Any]:
    base = {
        "delivery_id": "msg_1",
        "endpoint_id": uuid.uuid4(),
        "attempts": 1,
        "kind": "Completed",
        "failing_since": None,
    }
    return base | changes


@pytest.mark.parametrize(
    ("changes", "answer", "name", "after"),
    [
        ({}, Answer(AT, 0.1, 204), "delivered", None),
        ({}, Answer(AT, 0.1, 500, "status"), "retried", SCHEDULE[0]),
        ({}, Answer(AT, 0.1, 503, "status", 60.0), "retried", 60),
        ({}, Answer(AT, 0.1, 410, "status"), "gone", None),
        ({"endpoint_id": None}, Answer(AT, 0.1, 410, "status"), "failed", None),
        ({"attempts": len(SCHEDULE) + 1}, Answer(AT, 9, error="timeout"), "failed", None),
        ({"kind": "webhook.test"}, Answer(AT, 0.1, 500, "status"), "failed", None),
        ({}, Answer(AT, 0, error="released"), "released", 0),
    ],
)
def test_what_follows_from_an_answer(
    changes: dict[str, Any], answer: Answer, name: str, after: float | None
) -> None:
    found = outcome(row(**changes), answer, 0.5)
    assert (found.name, found.after) == (name, after)
    assert found.made is (name != "released")


def test_the_line_in_the_log_has_a_word_and_nothing_of_the_answer() -> None:
    line = json.loads(outcome(row(), Answer(AT, 0.1234, 500, "status"), 0.5).line())
    assert line == {"at": "2026-03-01T12:00:00.000Z", "status": 500, "ms": 123, "error": "status"}
