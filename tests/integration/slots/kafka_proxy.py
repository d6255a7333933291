"""A TCP proxy before one Kafka broker: it loses answers, drops connections, keeps requests back."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

#: Kafka's number of the request that ends a transaction.
END_TXN = 26

_HOST = b"127.0.0.1"


@dataclass
class KafkaProxy:
    """What it does with requests, and what it saw.

    Attributes:
        address: What clients take as bootstrap servers.
        lose: Answers still to be lost, by API key: the broker acts, and the connection breaks.
        keep: Requests still to be kept back, by API key: the connection breaks at once, and
            :meth:`deliver` hands the request to the broker afterwards.
        lost: Answers lost and requests kept back so far.
    """

    upstream: int
    server: socket.socket
    lose: dict[int, int] = field(default_factory=dict)
    keep: dict[int, int] = field(default_factory=dict)
    lost: int = 0

    def __post_init__(self) -> None:
        self.port = int(self.server.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._kept: list[tuple[socket.socket, bytes, threading.Event]] = []
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def drop(self) -> None:
        """Break every connection."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for end in pair:
                _shut(end)

    def deliver(self) -> None:
        """Hand the requests that were kept back to the broker, and wait until it has answered."""
        with self._lock:
            kept, self._kept = self._kept, []
        for broker, frame, answered in kept:
            broker.sendall(frame)
            assert answered.wait(10), "the broker does not answer"

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            broker = socket.create_connection(("127.0.0.1", self.upstream))
            with self._lock:
                self._pairs.add((client, broker))
            self._sockets += [client, broker]
            waiting: dict[bytes, threading.Event] = {}
            for work in (self._requests, self._answers):
                thread = threading.Thread(target=work, args=(client, broker, waiting), daemon=True)
                thread.start()
                self._threads.append(thread)

    def close(self) -> None:
        """Break every connection and let go of all sockets."""
        for end in self._sockets:
            _shut(end)
        for thread in self._threads:
            thread.join(5)
        for end in self._sockets:
            end.close()

    def _requests(
        self,
        client: socket.socket,
        broker: socket.socket,
        waiting: dict[bytes, threading.Event],
    ) -> None:
        with suppress(OSError):
            while frame := _frame(client):
                key = int.from_bytes(frame[4:6])
                if self._takes(self.keep, key):
                    waiting[frame[8:12]] = threading.Event()
                    with self._lock:
                        self._kept.append((broker, frame, waiting[frame[8:12]]))
                        self._pairs.discard((client, broker))
                    _shut(client)
                    return
                if self._takes(self.lose, key):
                    waiting[frame[8:12]] = threading.Event()
                broker.sendall(frame)
        _shut(broker)

    def _answers(
        self,
        client: socket.socket,
        broker: socket.socket,
        waiting: dict[bytes, threading.Event],
    ) -> None:
        ours = _HOST + struct.pack(">i", self.port)
        theirs = _HOST + struct.pack(">i", self.upstream)
        with suppress(OSError):
            while frame := _frame(broker):
                if frame[4:8] in waiting:
                    waiting[frame[4:8]].set()
                    break
                client.sendall(frame.replace(theirs, ours))
        _shut(client)

    def _takes(self, wanted: dict[int, int], key: int) -> bool:
        with self._lock:
            if wanted.get(key, 0) == 0:
                return False
            wanted[key] -= 1
            self.lost += 1
            return True


def _frame(source: socket.socket) -> bytes:
    head = _exactly(source, 4)
    return head + _exactly(source, int.from_bytes(head)) if head else b""


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            return b""
        data += part
    return data


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def kafka_proxy(servers: str) -> Iterator[KafkaProxy]:
    """A proxy before the broker ``host:port``, until the block ends."""
    server = socket.create_server(("127.0.0.1", 0))
    proxy = KafkaProxy(int(servers.rpartition(":")[2]), server)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        _shut(server)
        thread.join(5)
        server.close()
        proxy.close()
