"""HTTP requests taken down on their way to a store, and sent to it again as they were."""

from __future__ import annotations

import socket
import threading
import time
from http.client import HTTPResponse
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import urlsplit


def _address(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint)
    return parts.hostname or "127.0.0.1", parts.port or 80


def _request(stream: BinaryIO) -> bytes:
    """The next request, head and body; empty at the end of the stream."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + stream.read(length)


def _exchange(server: socket.socket, request: bytes) -> tuple[HTTPResponse, bytes]:
    server.sendall(request)
    response = HTTPResponse(server, method=request.split(b" ", 1)[0].decode())
    response.begin()
    return response, response.read()


class Recorder:
    """A proxy on 127.0.0.1 that keeps each request it hands on; one connection is one thread."""

    def __init__(self, endpoint: str) -> None:
        self.requests: list[bytes] = []
        self._server = _address(endpoint)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, _connected(self._server) as server:
            while request := _request(stream):
                self.requests.append(request)
                response, body = _exchange(server, request)
                client.sendall(_answer(response, body, head=request.startswith(b"HEAD ")))


def _answer(response: HTTPResponse, body: bytes, *, head: bool) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    for name, value in response.getheaders():
        if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
            lines.append(f"{name}: {value}")
    length = response.getheader("content-length") if head else str(len(body))
    lines.append(f"Content-Length: {length or 0}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _connected(address: tuple[str, int]) -> socket.socket:
    server = socket.create_connection(address, timeout=30)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


def replay(endpoint: str, requests: list[bytes]) -> float:
    """Milliseconds that the store takes for ``requests``, one after the other.

    Raises:
        RuntimeError: the store failed; conditions that do not hold are answers like any other.
        OSError: it cannot be reached.
    """
    with _connected(_address(endpoint)) as server:
        began = time.perf_counter()
        for request in requests:
            response, _ = _exchange(server, request)
            if response.status in {400, 403} or response.status >= 500:
                raise RuntimeError(f"the store answered {response.status}")
        return 1000 * (time.perf_counter() - began)
