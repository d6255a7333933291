"""What the head of a request must not be: too big, or open to two readings. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

from ingest.api.problems import Problem

#: Bytes of path and query, as they were sent.
MAX_TARGET: Final = 8 * 1024
MAX_HEADERS: Final = 64
#: Bytes of all header names and values.
MAX_HEADER_BYTES: Final = 16 * 1024
#: Headers that two programs could each read another of.
_SINGLE: Final = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"transfer-encoding",
        b"x-api-key",
    }
)


def objection(scope: Scope) -> Problem | None:
    """The problem with a request's head, or None.

    A request with both Content-Length and Transfer-Encoding, or with one of them twice, is how a
    request is smuggled past a proxy (RFC 9112, 6.3): it is refused, whatever it means.
    """
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET:
        return Problem("uri_too_long")
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    times = Counter(name for name, _ in headers)
    size = sum(len(name) + len(value) for name, value in headers)
    if times.total() > MAX_HEADERS or size > MAX_HEADER_BYTES:
        return Problem("headers_too_large")
    if times[b"content-encoding"]:
        return Problem("unsupported_media_type", "Send the body without Content-Encoding.")
    return _ambiguity(scope["http_version"], times)


def _ambiguity(version: str, times: Counter[bytes]) -> Problem | None:
    if version not in {"1.0", "1.1"}:
        return Problem("malformed_request")
    if any(times[name] > 1 for name in _SINGLE):
        return Problem("malformed_request", "A header that may be there once is there twice.")
    if times[b"transfer-encoding"] and (times[b"content-length"] or version == "1.0"):
        return Problem("malformed_request", "The length of the body can be read in two ways.")
    return None
