"""A connection that is slow, half-open or refused, as it is told."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.chaos.proxies import DELAY, Link, Links
from tests.support.wait import until


@pytest.fixture
def ended() -> threading.Event:
    """Set once the server has seen a connection end."""
    return threading.Event()


@pytest.fixture
def link(ended: threading.Event) -> Iterator[Link]:
    """A proxy before a server that says back what it hears."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=echo, args=(one,), daemon=True).start()

        def echo(one: socket.socket) -> None:
            with one, suppress(OSError):
                while piece := one.recv(1024):
                    one.sendall(piece)
            ended.set()

        threading.Thread(target=serve, daemon=True).start()
        links = Links()
        try:
            yield links.add("part", "server", server.getsockname()[1])
        finally:
            links.close()
            server.shutdown(socket.SHUT_RDWR)


def connect(link: Link, timeout: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout)


def test_open_it_passes_everything(link: Link) -> None:
    with connect(link) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"


def test_a_killed_clients_reset_ends_the_servers_connection_too(
    link: Link, ended: threading.Event
) -> None:
    client = connect(link)
    client.sendall(b"hello")
    assert client.recv(10) == b"hello"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert ended.wait(10)


def test_slow_every_piece_waits_in_both_directions(link: Link) -> None:
    with connect(link) as client:
        link.set("slow")
        client.settimeout(DELAY * 1.5)
        client.sendall(b"hello")
        with pytest.raises(TimeoutError):
            client.recv(10)
        client.settimeout(10)
        assert client.recv(10) == b"hello"


def test_half_open_nothing_comes_through_and_the_connection_is_lost_after(link: Link) -> None:
    with connect(link) as client:
        link.set("half-open")
        client.settimeout(0.3)
        client.sendall(b"hello")
        with pytest.raises(TimeoutError):
            client.recv(10)
        client.settimeout(10)
        link.set("open")
        assert lost(client)
    with connect(link) as client:
        client.sendall(b"again")
        assert client.recv(10) == b"again"


def test_refused_connections_break_and_new_ones_too(link: Link) -> None:
    with connect(link) as old:
        link.set("refused")
        assert lost(old)
    with connect(link) as new:
        assert lost(new)
    link.set("open")

    def passes() -> bool:
        with connect(link) as client:
            client.sendall(b"again")
            return client.recv(10) == b"again"

    until(passes, 10)


def lost(client: socket.socket) -> bool:
    try:
        return client.recv(10) == b""
    except ConnectionResetError:
        return True
