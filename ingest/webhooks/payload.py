"""What a webhook says, and the headers that prove who says it. Pure.

The headers follow the Standard Webhooks specification (standardwebhooks.com).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from ingest.view import job_json, moment
from schemas.job import NAMESPACE


def delivery_id(event_id: str, endpoint: str) -> str:
    """The webhook-id of one event at one endpoint (its id, or a URL): the same on every try."""
    name = f"webhook\x00{event_id}\x00{endpoint}"
    return f"msg_{uuid.uuid5(NAMESPACE, name).hex}"


def payload(row: Mapping[Any, Any], occurred_at: datetime, base: str) -> str:
    """The body: what happened, when, and the job with its links.

    Args:
        row: The job's columns.
        occurred_at: When it ended.
        base: Address of the API, as receivers reach it.
    """
    content = {
        "type": f"job.{row['status']}",
        "timestamp": moment(occurred_at),
        "data": job_json(row, base),
    }
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def signed_headers(secret: str, webhook_id: str, body: str, now: datetime) -> dict[str, str]:
    """The three webhook headers for one attempt at ``now`` (UTC)."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, body),
    }


def target_of(url: str) -> str:
    """Scheme, host and port of ``url``: receivers are kept apart by it."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"
