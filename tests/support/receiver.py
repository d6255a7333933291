"""A webhook receiver built on the reference library."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook

from tests.support.wait import until


@dataclass
class Delivery:
    """One request that arrived, with its headers in lower case."""

    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The event; raises when the signature does not fit ``secret``."""
        event: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return event


class Receiver:
    """Listens on loopback; answers what ``answer`` says for the n-th delivery (from 0)."""

    def __init__(self, answer: Callable[[int], int] = lambda _: 204) -> None:
        self.deliveries: list[Delivery] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                number = len(receiver.deliveries)
                receiver.deliveries.append(Delivery(headers, body))
                self.send_response(answer(number))
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def await_deliveries(self, count: int, seconds: float = 60) -> list[Delivery]:
        """Wait for at least ``count`` deliveries."""
        until(
            lambda: len(self.deliveries) >= count,
            seconds,
            lambda: f"{len(self.deliveries)} of {count} deliveries",
        )
        return list(self.deliveries)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
