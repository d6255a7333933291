"""A request's multipart body: its size, time and form are limited while it arrives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from ingest.api.body import MAX_BODY
from ingest.api.problems import Problem
from ingest.openai.form import Form, MalformedForm

_DEADLINE: Final = 10.0
#: What is read of a body that is refused: a client that cannot finish sending sees no answer.
_MOST_IGNORED: Final = 64 * 1024 * 1024


async def read_form(request: Request) -> Form:
    """The form in the body: whole, or up to its first file.

    Raises:
        Problem: unsupported_media_type, body_too_large, request_timeout or malformed_body.
    """
    if "content-encoding" in request.headers:
        raise Problem("unsupported_media_type")
    chunks = request.stream()
    try:
        form = Form(request.headers.get("content-type", ""))
        async with asyncio.timeout(_DEADLINE):
            await _take_in(form, chunks)
    except TimeoutError:
        raise Problem("request_timeout") from None
    except ClientDisconnect:
        raise Problem("malformed_body", "The body ended early.") from None
    except MalformedForm as error:
        raise Problem("malformed_body", f"Malformed form: {error}.") from None
    if form.file is not None:
        await _ignore(chunks)
    elif not form.done:
        raise Problem("malformed_body", "Malformed form: it ended early.")
    return form


async def _take_in(form: Form, chunks: AsyncIterator[bytes]) -> None:
    size = 0
    async for chunk in chunks:
        # A file's own bytes are not counted: it is refused as a file.
        form.feed(chunk[: MAX_BODY + 1 - size])
        size += len(chunk)
        if form.file is not None:
            return
        if size > MAX_BODY:
            raise Problem("body_too_large")


async def ignore_body(request: Request) -> None:
    """Read what the client sends, within limits, so that it can read the answer."""
    await _ignore(request.stream())


async def _ignore(chunks: AsyncIterator[bytes]) -> None:
    size = 0
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_DEADLINE):
            async for chunk in chunks:
                size += len(chunk)
                if size > _MOST_IGNORED:
                    return
