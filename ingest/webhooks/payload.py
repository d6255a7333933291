"""What a webhook says, and the headers that prove who says it. Pure.

The headers follow the Standard Webhooks specification (standardwebhooks.com).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from ingest.view import job_json, moment
from schemas.job import NAMESPACE


def delivery_id(event_id: str, endpoint: str) -> str:
    """The webhook-id of one event at one endpoint (its id, or a URL): the same on every try."""
    name = f"webhook\x00{event_id}\x00{endpoint}"
    return f"msg_{uuid.uuid5(NAMESPACE, name).hex}"


Format = Literal["native", "openai"]
#: What a test is called, in the delivery log and to the receiver.
TEST: Final = "webhook.test"
#: Ends that OpenAI's video contract has an event for; it knows no cancelled video.
_OPENAI: Final = {
    "Completed": "video.completed",
    "Failed": "video.failed",
    "Refused": "video.failed",
    "Expired": "video.failed",
}


def payload(row: Mapping[Any, Any], occurred_at: datetime, base: str) -> str:
    """The body in the native format: what happened, when, and the job with its links.

    Args:
        row: The job's columns.
        occurred_at: When it ended.
        base: Address of the API, as receivers reach it.
    """
    return _encoded(
        {
            "type": f"job.{row['status']}",
            "timestamp": moment(occurred_at),
            "data": job_json(row, base),
        }
    )


def openai_payload(
    kind: str, job_id: uuid.UUID, occurred_at: datetime, event_id: str
) -> str | None:
    """The body in OpenAI's shape, which names the video and leaves the rest to be asked for.

    Args:
        kind: The terminal event's.
        job_id: The video's id at ``/v1/videos`` too.
        occurred_at: When it ended.
        event_id: The event's id (a UUID): the same body each time it is made.

    Returns:
        None for an end that OpenAI's contract does not know: a cancelled job.
    """
    told = _OPENAI.get(kind)
    return None if told is None else _openai(told, occurred_at, event_id, {"id": str(job_id)})


def trial_payload(form: Format, endpoint: str, now: datetime, nonce: str) -> str:
    """The body of a test of ``endpoint`` (its id), in the shape it gets its events in."""
    if form == "openai":
        return _openai(TEST, now, nonce, {"id": endpoint})
    return _encoded({"type": TEST, "timestamp": moment(now), "data": {"webhook_id": endpoint}})


def _openai(told: str, at: datetime, event_id: str, data: dict[str, str]) -> str:
    return _encoded(
        {
            "id": f"evt_{event_id.replace('-', '')}",
            "object": "event",
            "created_at": int(at.timestamp()),
            "type": told,
            "data": data,
        }
    )


def _encoded(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def signed_headers(
    secrets: Sequence[str], webhook_id: str, body: str, now: datetime
) -> dict[str, str]:
    """The three webhook headers for one attempt at ``now`` (UTC).

    Args:
        secrets: Those that receivers may verify with: two while a secret is being rotated.
        webhook_id: The delivery's.
        body: What is signed.
        now: When it is sent.
    """
    signatures = [Webhook(secret).sign(webhook_id, now, body) for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def port_of(url: str) -> int:
    """The port that a valid URL leads to."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def lane_of(tenant_id: str, url: str) -> str:
    """What a tenant sends to one scheme, host and port: lanes are kept apart from each other.

    Two tenants who use one receiver have a lane each, so neither's queue is the other's.
    """
    parts = urlsplit(url)
    return f"{tenant_id} {parts.scheme}://{(parts.hostname or '').lower()}:{port_of(url)}"
