"""Bodies of administrators' routes: strict JSON into a strict model, or what is wrong with it."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from ingest.api.body import read_object
from ingest.api.problems import Problem
from ingest.submission import shape_errors


class StrictBody(BaseModel):
    """What a client sends: no other types, no other fields, no values in errors."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


B = TypeVar("B", bound=StrictBody)


async def read_body(request: Request, model: type[B]) -> B:
    """The body as ``model``.

    Raises:
        Problem: invalid_request, or what :func:`read_object` raises.
    """
    try:
        return model.model_validate(await read_object(request))
    except ValidationError as error:
        raise Problem("invalid_request", errors=shape_errors(error)) from None


def described(model: type[StrictBody]) -> dict[str, Any]:
    """What a route's ``openapi_extra`` says of its body."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


#: What every route of a caller may answer with, and what one with a body may, too.
OF_CALLER = ("unauthenticated", "invalid_token", "forbidden", "dependency_unavailable")
OF_BODY = (
    *OF_CALLER,
    "malformed_body",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_request",
)
