"""A small HTTP proxy before the store: it loses answers, invents conflicts, hangs, is careless."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, list[tuple[str, str]], bytes]


class Proxy:
    """Where it listens, what it forwarded, and what it does with PUTs and POSTs.

    ``on_put`` gets the number of the PUT (from 1), its path and body, and a function that forwards
    it; it returns the answer to send, or None to close the connection without one. ``on_post`` gets
    the path of a POST, the function, and answers likewise.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.on_put: Callable[[int, str, bytes, Callable[[], Answer]], Answer | None] = (
            lambda _number, _path, _body, forward: forward()
        )
        self.on_post: Callable[[str, Callable[[], Answer]], Answer | None] = _forwarded
        self.puts = 0
        self._lock = threading.Lock()

    def count(self) -> int:
        with self._lock:
            self.puts += 1
            return self.puts

    def forward(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        host, port = self.upstream.hostname, self.upstream.port
        assert host is not None
        connection = http.client.HTTPConnection(host, port, timeout=30)
        try:
            # Host goes on as it came: the signature covers it.
            kept = {key: value for key, value in headers.items() if key.lower() != "connection"}
            connection.request(method, path, body or None, kept)
            response = connection.getresponse()
            dropped = {"connection", "transfer-encoding", "keep-alive"}
            sent = [(k, v) for k, v in response.getheaders() if k.lower() not in dropped]
            return response.status, sent, response.read()
        finally:
            connection.close()


def _forwarded(_path: str, forward: Callable[[], Answer]) -> Answer:
    return forward()


def conflict() -> Answer:
    """409: another conditional put to this key is in flight."""
    body = b"<Error><Code>ConditionalRequestConflict</Code></Error>"
    return 409, [("Content-Length", str(len(body))), ("Content-Type", "application/xml")], body


def error(status: int) -> Answer:
    """An error of the server."""
    return status, [("Content-Length", "0")], b""


@contextmanager
def running(upstream: str) -> Iterator[tuple[Proxy, str]]:
    """The proxy and its URL, until the block ends."""
    proxy = Proxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def forward() -> Answer:
                return proxy.forward(self.command, self.path, self.headers, body)

            answer: Answer | None
            if self.command == "PUT":
                answer = proxy.on_put(proxy.count(), self.path, body, forward)
            elif self.command == "POST":
                answer = proxy.on_post(self.path, forward)
            else:
                answer = forward()
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response_only(status)
            for key, value in headers:
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Says nothing: the test's own assertions do."""

    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        setattr(Handler, f"do_{method}", Handler._handle)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
