"""A registry that is away delays records; it never costs one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from tests.integration.streams.bus import Bus, free_port, wait_for


def test_records_wait_for_the_registry_and_none_is_skipped(bus: Bus) -> None:
    port = free_port()
    registry = urlsplit(bus.settings.registry)
    here = urlunsplit(registry._replace(netloc=f"127.0.0.1:{port}"))
    for number in range(3):
        bus.send(bus.a_request(f"{number}"))
    with bus.run("streams.admission", registry=here) as app:
        wait_for("an outage noticed", lambda: app.says("registry.unavailable"))
        assert bus.facts() == []
        assert bus.letters() == []
        assert registry.hostname is not None
        assert registry.port is not None
        with passage(port, (registry.hostname, registry.port)):
            assert bus.prompts(3) == ["0", "1", "2"]
            assert app.terminate() == 0
    assert bus.letters() == []


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
