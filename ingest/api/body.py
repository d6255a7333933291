"""A request's JSON body: its size, time and media type are limited while it arrives."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from ingest.api.problems import Problem
from ingest.models import StrictBody
from ingest.strict_json import MAX_DIGITS, MalformedJson, parse_object
from ingest.submission import shape_errors

MAX_BODY: Final = 64 * 1024
_DEADLINE: Final = 10.0
B = TypeVar("B", bound=StrictBody)


def described(model: type[StrictBody]) -> dict[str, Any]:
    """What a route's ``openapi_extra`` says of a body that it reads itself."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


async def read_body(
    request: Request, model: type[B], most: int = MAX_BODY, digits: int = MAX_DIGITS
) -> B:
    """The body as ``model``; see :func:`read_object`.

    Raises:
        Problem: invalid_request, or what :func:`read_object` raises.
    """
    try:
        return model.model_validate(await read_object(request, most, digits))
    except ValidationError as error:
        raise Problem("invalid_request", errors=shape_errors(error)) from None


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
