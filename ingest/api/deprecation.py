"""Routes on their way out: they say so, in headers and in the OpenAPI document.

``Deprecation`` is RFC 9745's, ``Sunset`` RFC 8594's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Deprecation:
    """What is known of a route's end.

    Attributes:
        since: From when on it should not be used (UTC).
        sunset: When it may stop to answer (UTC); None: not settled.
        link: What to use instead: a URL that people can read.
    """

    since: datetime
    sunset: datetime | None
    link: str

    def headers(self) -> dict[str, str]:
        """What its answers say."""
        said = {
            "Deprecation": f"@{int(self.since.timestamp())}",
            "Link": f'<{self.link}>; rel="deprecation"; type="text/html"',
        }
        if self.sunset is not None:
            said["Sunset"] = format_datetime(self.sunset, usegmt=True)
        return said


#: By method and path, as in ``GET /v1/jobs/{job_id}``.
DEPRECATED: Final[Mapping[str, Deprecation]] = {}


class Deprecations:
    """ASGI middleware that has deprecated routes say so."""

    def __init__(self, app: ASGIApp, table: Mapping[str, Deprecation]) -> None:
        self._app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's scope."""

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "")
                found = self._table.get(f"{scope['method']} {path}")
                if found is not None:
                    headers = MutableHeaders(scope=message)
                    for name, value in found.headers().items():
                        headers.append(name, value)
            await send(message)

        await self._app(scope, receive, said)
