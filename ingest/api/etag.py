"""Entity tags: a client that has the answer already is told so, without a body."""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response


def tagged(request: Request, answer: Response) -> Response:
    """``answer`` with its ETag, or a 304 when the request's If-None-Match names it."""
    tag = f'"{hashlib.blake2b(bytes(answer.body), digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if matches(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer


def matches(if_none_match: str, tag: str) -> bool:
    """Whether the field's value names ``tag``, by the weak comparison of RFC 9110, 8.8.3.2."""
    named = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return tag in named or named == ["*"]
