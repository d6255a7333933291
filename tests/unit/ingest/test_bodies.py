from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from ingest.api import bodies
from ingest.api.bodies import Json
from ingest.api.problems import Problem, content_of
from ingest.api.webhooks import delivery_json, endpoint_json
from ingest.read_model import Placed, event_row, job_columns
from ingest.retention import Retention
from ingest.store.jobs import row_for
from ingest.submission import submission
from ingest.view import as_submitted, event_json, job_json
from schemas.job import Violation
from schemas.states import STATUS_OF_KIND
from tests.unit.ingest.events import BEGAN, happened, job

_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_ID = "0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11"


def fits(model: type[BaseModel], shown: Any) -> None:
    """``shown`` as it is sent is the model's, and says nothing else."""
    sent = bytes(Json(shown).body)
    model.model_validate_json(sent, strict=True)
    assert set(json.loads(sent)) == set(model.model_fields)


def submitted(**fields: Any) -> dict[str, Any]:
    """The row of a fresh submit, with what PostgreSQL fills in."""
    asked = submission({"prompt": "a fox", **fields}, "default", _NOW)
    row = row_for(asked, _ID, _NOW, 5.0, None)
    empty = dict.fromkeys(
        ["reason", "progress", "artifact", "started_at", "completed_at", "cancel_requested_at"]
    )
    return row | empty | {"attempt": 0, "slot": None}


@pytest.mark.parametrize("kind", sorted(STATUS_OF_KIND))
def test_a_job_is_typed_whatever_happened_to_it(kind: str) -> None:
    row = job_columns(Placed(happened(job(metadata={"k": "v"}), kind)[0], 0, 7))
    row["video_expires_at"] = Retention(3600).expiry(row)
    fits(bodies.JobBody, job_json(row))
    fits(bodies.EventBody, event_json(event_row(Placed(happened(job(), kind)[0], 0, 7))))


def test_a_submitted_job_is_typed_and_its_first_answer_stays_the_same() -> None:
    row = submitted(
        webhook_url="https://example.org/x", retention_s=60, expires_at="2030-01-01T00:00:00Z"
    )
    first = job_json(row)
    fits(bodies.JobBody, first)
    ended = job_columns(Placed(happened(job(_ID), "Completed")[0], 0, 7))
    late = ["status", "phase", "attempt", "artifact", "started_at", "completed_at", "updated_at"]
    since = row | {name: ended[name] for name in late} | {"cancel_requested_at": BEGAN}
    assert job_json(since) != first
    assert job_json(as_submitted(since)) == first


def test_a_running_job_shows_its_progress() -> None:
    report = {"phase": "denoising", "step": 1, "total": 9, "eta_s": 1.5, "gpu_utilisation": None}
    fits(bodies.JobBody, job_json(submitted() | {"progress": report, "status": "processing"}))


def test_a_batch_is_typed() -> None:
    wrong = Problem("invalid_request", errors=[Violation("prompt", "missing", "Say it.")])
    item = {"index": 0, "status": 202, "job": job_json(submitted()), "problem": None}
    other = {"index": 1, "status": 422, "job": None, "problem": content_of(wrong)}
    shown = {"object": "batch", "accepted": 1, "refused": 1, "data": [item, other]}
    fits(bodies.BatchAnswer, shown)


def test_endpoints_and_deliveries_are_typed() -> None:
    endpoint = {
        "endpoint_id": uuid.UUID(_ID), "url": "https://e.org", "events": ["Failed"],
        "created_at": _NOW, "disabled_at": None, "disabled_reason": None,
    }  # fmt: skip
    fits(bodies.EndpointShown, endpoint_json(endpoint))
    delivery = {
        "delivery_id": "msg_1", "job_id": uuid.UUID(_ID), "kind": "Failed", "delivered": False,
        "pending": True, "attempts": 1, "last_status": 500, "last_error": "x", "next_at": _NOW,
        "created_at": _NOW, "ended_at": None,
    }  # fmt: skip
    fits(bodies.DeliveryBody, delivery_json(delivery))


def test_a_member_that_is_not_declared_is_seen() -> None:
    with pytest.raises(ValidationError):
        fits(bodies.JobBody, job_json(submitted()) | {"prompt_copy": "x"})
