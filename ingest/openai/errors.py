"""Errors in the shape that the ``openai`` client reads. Pure.

The client retries 408, 409, 429 and 5xx by itself, unless ``x-should-retry`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import Field

from ingest.models import Body
from schemas.job import Violation
from schemas.reasons import REASONS

#: Below this path, errors have this shape.
ROOT: Final = "/v1/videos"
#: Statuses that mean something else to the client, or nothing.
_STATUS: Final = {"idempotency_conflict": 409, "video_expired": 404}
#: What a repeat cannot change, though its status would have the client try.
_FINAL: Final = frozenset(
    {"idempotency_conflict", "job_conflict", "job_ended", "preview_failed", "video_not_ready"}
)
_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_SAID: Final = 5
_SCHEMA: Final = "#/components/schemas/ErrorBody"


class ErrorDetail(Body):
    """What is wrong; all four are always there."""

    message: str = Field(description="For people; never quotes what was sent.")
    type: str = Field(description="invalid_request_error, rate_limit_error, server_error, ...")
    param: str | None = Field(description="The field that is wrong.")
    code: str = Field(description="Stable, for programs: that of the problem or of the rule.")


class ErrorBody(Body):
    """An error, as OpenAI's clients read it."""

    error: ErrorDetail = Field(description="The error.")


class Shaped(NamedTuple):
    """An answer: its status, its body, and what is added to its headers."""

    status: int
    body: ErrorBody
    headers: dict[str, str]


def owns(path: str) -> bool:
    """Whether errors below ``path`` have this shape."""
    return path == ROOT or path.startswith(ROOT + "/")


def shaped(
    code: str, detail: str | None, errors: Sequence[Violation], headers: Mapping[str, str]
) -> Shaped:
    """The answer that a problem is to these clients.

    Args:
        code: A key of ``REASONS``.
        detail: What is wrong here; None: what the code says.
        errors: The rules that the request breaks; the first one is the error.
        headers: Of the answer so far.
    """
    reason = REASONS[code]
    status = status_of(code)
    said = [f"{v.field}: {v.message}" for v in errors[:_SAID]]
    told = ErrorDetail(
        message=" ".join(said) or f"{reason.title}. {detail or reason.remedy}",
        type=_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error"),
        param=errors[0].field if errors else None,
        code=errors[0].code if errors else code,
    )
    added = dict(headers)
    if code in _FINAL:
        added["x-should-retry"] = "false"
    wait = next((v for name, v in headers.items() if name.lower() == "retry-after"), "")
    if wait.isdecimal():
        added["retry-after-ms"] = str(1000 * int(wait))
    return Shaped(status, ErrorBody(error=told), added)


def status_of(code: str) -> int:
    """The HTTP status of a problem below ``ROOT``."""
    return _STATUS.get(code) or (400 if REASONS[code].status == 422 else REASONS[code].status)


def described(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What a route's ``responses`` say of the problems that it may answer with."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        line = f"`{code}`: {REASONS[code].title}."
        before = found.get(status_of(code), {}).get("description")
        found[status_of(code)] = {
            "description": f"{before} {line}" if before else line,
            "content": {"application/json": {"schema": {"$ref": _SCHEMA}}},
        }
    return found
