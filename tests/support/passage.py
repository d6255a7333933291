"""A TCP forwarder from a port that nobody listened on until it is opened."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


def closed(url: str) -> tuple[str, int, tuple[str, int]]:
    """``url`` by way of a free port: the new URL, the port, and where ``url`` leads."""
    there = urlsplit(url)
    assert there.hostname is not None
    assert there.port is not None
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    here = urlunsplit(there._replace(netloc=f"127.0.0.1:{port}"))
    return here, port, (there.hostname, there.port)


@contextmanager
def passage(port: int, target: tuple[str, int]) -> Iterator[None]:
    """A TCP forwarder from a port of this machine to ``target``."""
    server = socket.create_server(("127.0.0.1", port))
    ends: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection(target)
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
