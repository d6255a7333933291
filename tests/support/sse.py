"""A client of event streams, as a browser's EventSource reads them."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2

from tests.support.wait import until


@dataclass
class Event:
    """One event of a stream."""

    name: str = "message"
    data: dict[str, Any] = field(default_factory=dict)
    id: str | None = None


class Reader:
    """Reads a stream on a thread of its own until it ends or is closed.

    Attributes:
        events: What came, without the opening event.
        last_id: What a client sends as Last-Event-ID when it comes back.
        ended: ``clean`` or ``broken``, once the stream has ended.
    """

    def __init__(self, client: httpx2.Client, path: str, last_id: str | None = None) -> None:
        headers = dict(client.headers) | ({"Last-Event-ID": last_id} if last_id else {})
        self.events: list[Event] = []
        self.last_id = last_id
        self.ended: str | None = None
        url = client.base_url
        self._connection = http.client.HTTPConnection(url.host, url.port, timeout=60)
        self._connection.request("GET", path, headers=headers)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.content_type = self._answer.getheader("content-type", "")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Break the connection off."""
        with contextlib.suppress(OSError):
            if self._connection.sock is not None:
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._answer.close()
        self._connection.close()

    def wait(self, events: int, seconds: float = 20) -> list[Event]:
        """The first so many events."""
        until(lambda: len(self.events) >= events, seconds, lambda: f"{self.events}, {self.ended}")
        return self.events[:events]

    def wait_opened(self) -> None:
        """Return once the stream has said where it begins."""
        until(lambda: self.last_id is not None, 20, lambda: str(self.ended))

    def wait_ended(self, seconds: float = 20) -> str:
        """How it ended."""
        until(lambda: self.ended is not None, seconds, lambda: f"{self.events}")
        return str(self.ended)

    def _read(self) -> None:
        event = Event()
        try:
            while raw := self._answer.readline():
                line = raw.decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if name == "event":
                    event.name = value
                elif name == "data":
                    event.data = json.loads(value)
                elif name == "id":
                    event.id = value
                elif not line:
                    # An id counts with its whole event: one that broke off in between comes again.
                    self.last_id = event.id or self.last_id
                    if event.data:
                        self.events.append(event)
                    event = Event()
            # A stream that was cut off lacks the last chunk, and says so.
            self.ended = "clean" if self._answer.isclosed() else "broken"
        except (http.client.HTTPException, OSError, ValueError):
            self.ended = "broken"
