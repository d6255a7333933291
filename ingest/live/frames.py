"""Server-sent events as bytes: what a stream shows of timelines and of progress. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi.sse import format_sse_event

from ingest.view import event_json

#: A comment: keeps proxies from closing an idle stream, and finds out who has gone.
BEAT: Final = b": beat\n\n"
#: How long a client waits before it comes back.
RETRY_MS: Final = 2000
_MAX_NAME: Final = 64


def opening(position_id: str | None) -> bytes:
    """The first bytes of a stream; with an id where going on from here must miss nothing."""
    if position_id is None:
        return format_sse_event(comment="open", retry=RETRY_MS)
    return format_sse_event(event="open", data_str="{}", id=position_id, retry=RETRY_MS)


def event_frame(row: Mapping[Any, Any], position_id: str) -> bytes:
    """One line of a timeline, named for its kind.

    Args:
        row: The columns of ``job_events``.
        position_id: The stream's place once this was seen.
    """
    data = {"job_id": str(row["job_id"]), **event_json(row)}
    return format_sse_event(
        event=_name(row["kind"]), data_str=orjson.dumps(data).decode(), id=position_id
    )


def progress_frame(row: Mapping[Any, Any], position_id: str | None) -> bytes:
    """How far a running attempt is; without an id where the place in the log is all that counts.

    Args:
        row: ``job_id``, ``attempt`` and ``progress`` of ``jobs``.
        position_id: The stream's place once this was seen.
    """
    data = {"job_id": str(row["job_id"]), "attempt": row["attempt"], **row["progress"]}
    return format_sse_event(event="progress", data_str=orjson.dumps(data).decode(), id=position_id)


def progress_mark(row: Mapping[Any, Any]) -> int:
    """Tells one report from the next; never 0."""
    shown = orjson.dumps([row["attempt"], row["progress"]], option=orjson.OPT_SORT_KEYS)
    return zlib.crc32(shown) or 1


def _name(kind: str) -> str:
    return kind[:_MAX_NAME] if kind.isalnum() else "other"
