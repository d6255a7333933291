"""A request's JSON body: its size, time and media type are limited while it arrives."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from ingest.api.problems import Problem
from ingest.strict_json import MAX_DIGITS, MalformedJson, parse_object

MAX_BODY: Final = 64 * 1024
_DEADLINE: Final = 10.0
#: What may be wrong with a body before anybody looks into it.
BODY_REFUSALS: Final = (
    "malformed_body",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
)


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """What a route's ``openapi_extra`` says of a body that it reads itself."""
    schema = model.model_json_schema()
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


async def read_object(
    request: Request, most: int = MAX_BODY, digits: int = MAX_DIGITS
) -> dict[str, Any]:
    """The JSON object in the body.

    Args:
        request: With a body that nobody has read.
        most: Bytes that are taken.
        digits: As many as an integer in it may have.

    Raises:
        Problem: unsupported_media_type, body_too_large, request_timeout or malformed_body.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" or "content-encoding" in request.headers:
        raise Problem("unsupported_media_type")
    try:
        async with asyncio.timeout(_DEADLINE):
            return parse_object(await _bounded(request, most), digits)
    except TimeoutError:
        raise Problem("request_timeout") from None
    except ClientDisconnect:
        raise Problem("malformed_body", "The body ended early.") from None
    except MalformedJson as error:
        raise Problem("malformed_body", f"Malformed JSON: {error}.") from None


async def _bounded(request: Request, most: int) -> bytes:
    too_large = Problem("body_too_large", f"Send at most {most // 1024} KiB.")
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:20]) > most:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_large
    return bytes(body)
