"""The outermost layer: a span and metrics for each request, a plain 500 for what is uncaught."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.telemetry import context_of, log, span
from ingest.api.heads import objection
from ingest.api.problems import Problem, answer
from ingest.failures import places
from ingest.metrics import REFUSED_CONNECTIONS, REQUEST_SECONDS, REQUESTS

#: Member of a request's scope: headers (name to value) that its answer gets, whatever it is.
ANSWER_HEADERS: Final = "ttv.answer_headers"
#: Another: to be called by a request that will wait for something other than this process.
NO_LONGER_PENDING: Final = "ttv.no_longer_pending"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


#: What must answer however much is under way: else a busy process is taken for a dead one.
_ALWAYS: Final = frozenset({"/healthz"})


class Boundary:
    """ASGI middleware; a request's trace continues the caller's ``traceparent``.

    Args:
        app: What handles the requests.
        most_pending: Requests that wait for their answer to begin; one more is answered 503.
    """

    def __init__(self, app: ASGIApp, most_pending: int) -> None:
        self._app = app
        self._most_pending = most_pending
        self._pending = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        parent = context_of(Headers(scope=scope).get("traceparent"))
        began, seen = time.perf_counter(), _Seen(scope, send, self._begun)
        with span(method, SpanKind.SERVER, parent) as current:
            try:
                await self._handle(scope, receive, seen)
            except Exception as error:  # noqa: BLE001 nothing may leave without an answer
                _log(error)
                if not seen.status:
                    await answer(Problem("internal"))(scope, receive, seen)
            _describe(current, method, _route(scope), seen.status)
        REQUESTS.labels(method, _route(scope), str(seen.status)).inc()
        REQUEST_SECONDS.labels(_route(scope)).observe(time.perf_counter() - began)

    async def _handle(self, scope: Scope, receive: Receive, seen: _Seen) -> None:
        found = objection(scope)
        if found is not None:
            await answer(found, {"Connection": "close"})(scope, receive, seen)
        elif self._pending >= self._most_pending and scope["path"] not in _ALWAYS:
            REFUSED_CONNECTIONS.labels("busy").inc()
            await answer(Problem("overloaded"))(scope, receive, seen)
        else:
            self._pending += 1
            seen.is_pending = True
            scope[NO_LONGER_PENDING] = seen.begun
            try:
                await self._app(scope, receive, seen)
            finally:
                seen.begun()

    def _begun(self) -> None:
        self._pending -= 1


class _Seen:
    """Passes messages on, adds what the scope asks for, and remembers the status."""

    def __init__(self, scope: Scope, send: Send, when_begun: Callable[[], None]) -> None:
        self._scope = scope
        self._send = send
        self._when_begun = when_begun
        self.is_pending = False
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.begun()
            added = MutableHeaders(scope=message)
            for name, value in self._scope.get(ANSWER_HEADERS, {}).items():
                added[name] = value
        await self._send(message)

    def begun(self) -> None:
        """The answer begins, or there will be none: the request waits no longer."""
        if self.is_pending:
            self.is_pending = False
            self._when_begun()


def _route(scope: Scope) -> str:
    route: Any = scope.get("route")
    return str(getattr(route, "path", "unmatched"))


def _describe(current: Span, method: str, route: str, status: int) -> None:
    current.update_name(f"{method} {route}")
    current.set_attribute("http.request.method", method)
    current.set_attribute("http.route", route)
    current.set_attribute("http.response.status_code", status)
    if status >= 500:
        current.set_status(Status(StatusCode.ERROR))


def _log(error: Exception) -> None:
    log().error("request.failed", error=type(error).__name__, frames=places(error))
