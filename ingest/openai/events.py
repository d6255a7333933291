"""What a webhook says in OpenAI's shape: ``video.completed`` and ``video.failed``. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

#: The event of each final status. There is none for a cancelled one: nobody waits for it.
EVENT_OF_STATUS: Final[Mapping[str, str]] = {
    "completed": "video.completed",
    "failed": "video.failed",
}


def event_body(row: Mapping[Any, Any], event_id: str, occurred_at: datetime) -> str | None:
    """The body that ``client.webhooks.unwrap`` reads; None: this end is none of its events.

    Args:
        row: The job's columns, its status final.
        event_id: The same on every delivery of the event.
        occurred_at: When the job ended.
    """
    kind = EVENT_OF_STATUS.get(row["status"])
    if kind is None:
        return None
    content = {
        "id": event_id,
        "object": "event",
        "created_at": int(occurred_at.timestamp()),
        "type": kind,
        "data": {"id": str(row["job_id"])},
    }
    return json.dumps(content, separators=(",", ":"))
