"""Every error of the API as RFC 9457 problem details, from the codes of schemas/reasons.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from opentelemetry import trace
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from ingest.openai import errors as openai
from schemas.job import Violation
from schemas.reasons import REASONS

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:ttv:problem:"
#: Errors that the framework raises by itself.
_OF_STATUS: Final = {
    400: "malformed_body",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}
_MAX_ERRORS: Final = 20
#: How a client is told to prove who it is (RFC 6750, section 3).
_CHALLENGES: Final = {
    "unauthenticated": 'Bearer realm="ttv"',
    "invalid_token": 'Bearer realm="ttv", error="invalid_token"',
    "forbidden": 'Bearer realm="ttv", error="insufficient_scope"',
}
_RETRY_AFTER: Final = {
    "overloaded": "2",
    "dependency_unavailable": "2",
    "rate_limited": "1",
    "too_many_streams": "5",
}


class RuleBroken(BaseModel):
    """One rule that a request breaks."""

    field: str = Field(description="Where.")
    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="What to do about it.")


class ProblemBody(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="urn:ttv:problem: and the code.")
    title: str = Field(description="What the code means.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong here, or what to do.")
    code: str = Field(description="Stable, for programs.")
    trace_id: str | None = Field(description="Finds the request in traces and logs.")
    errors: list[RuleBroken] | None = Field(None, description="The rules that it breaks.")


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """What a route's ``responses`` say of the problems that it may answer with."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        reason = REASONS[code]
        before = found.get(reason.status, {}).get("description")
        line = f"`{code}`: {reason.title}."
        found[reason.status] = {
            "description": f"{before} {line}" if before else line,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
    return found


class Problem(Exception):
    """An answer that is an error.

    Args:
        code: A key of ``REASONS``.
        detail: What is wrong here; safe to show, without what the client sent.
        errors: The rules that a request breaks.
        extra: Further members.
        retry_after: Seconds after which to try again, where the code's own do not fit.
    """

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        errors: Sequence[Violation] = (),
        extra: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.errors = errors
        self.extra = extra or {}
        self.retry_after = retry_after


def trace_id() -> str | None:
    """The current trace, which finds this request in logs and spans."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


class _Answer(JSONResponse):
    """A problem as an answer, in the shape that the clients of its path read."""

    def __init__(self, problem: Problem, body: dict[str, Any], headers: Mapping[str, str]) -> None:
        super().__init__(body, body["status"], headers, media_type=MEDIA_TYPE)
        self._problem = problem
        self._sent = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request that ``scope`` describes."""
        if not openai.owns(scope["path"]):
            await super().__call__(scope, receive, send)
            return
        what = self._problem
        told = openai.shaped(what.code, what.detail, what.errors, self._sent)
        await JSONResponse(told.body.model_dump(), told.status, told.headers)(scope, receive, send)


def content_of(problem: Problem) -> dict[str, Any]:
    """The members of a problem's body; see :class:`ProblemBody`."""
    reason = REASONS[problem.code]
    body: dict[str, Any] = {
        "type": _TYPE + problem.code,
        "title": reason.title,
        "status": reason.status,
        "detail": problem.detail or reason.remedy,
        "code": problem.code,
        "trace_id": trace_id(),
        **problem.extra,
    }
    if problem.errors:
        body["errors"] = [
            {"field": v.field, "code": v.code, "message": v.message}
            for v in problem.errors[:_MAX_ERRORS]
        ]
    return body


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response that a problem is."""
    sent = dict(headers or {})
    if problem.code in _RETRY_AFTER:
        given = problem.retry_after
        sent["Retry-After"] = _RETRY_AFTER[problem.code] if given is None else str(given)
    if problem.code in _CHALLENGES:
        sent["WWW-Authenticate"] = _CHALLENGES[problem.code]
    return _Answer(problem, content_of(problem), sent)


async def _problem(request: Request, error: Problem) -> Response:
    if error.code == "not_found" and request.method not in _methods(request):
        # A path beside others that end in an id: it is there, but takes other methods.
        return _not_allowed(request)
    return answer(error)


def _not_allowed(request: Request) -> Response:
    return answer(Problem("method_not_allowed"), {"Allow": ", ".join(_methods(request))})


async def _framework(request: Request, error: HTTPException) -> Response:
    code = _OF_STATUS.get(error.status_code, "internal")
    if code == "method_not_allowed":
        return _not_allowed(request)
    return answer(Problem(code), error.headers)


def _methods(request: Request) -> list[str]:
    """What the path takes: the framework names the methods of the first route alone that has it.

    Of two templates that fit, the first in the router's order is the path's.
    """
    methods: dict[str, set[str]] = {}
    for route in iter_route_contexts(request.app.routes):
        path = route.path or ""
        if path in methods or compile_path(path)[0].match(request.scope["path"]):
            methods.setdefault(path, set()).update(route.methods or ())
    return sorted(next(iter(methods.values()), ()))


async def _validation(_: Request, error: RequestValidationError) -> Response:
    found = [
        Violation(".".join(str(part) for part in item["loc"][1:])[:64], "invalid", item["msg"])
        for item in error.errors()
    ]
    return answer(Problem("invalid_request", errors=found))


def install(app: FastAPI) -> None:
    """Have ``app`` answer every error as a problem."""
    app.exception_handler(Problem)(_problem)
    app.exception_handler(HTTPException)(_framework)
    app.exception_handler(RequestValidationError)(_validation)
