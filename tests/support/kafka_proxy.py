"""A TCP proxy before one Kafka broker: it loses, keeps back and changes what passes."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

#: Kafka's numbers of the requests that ask for brokers, and that end a transaction.
METADATA = 3
END_TXN = 26

_HOST = b"127.0.0.1"
#: Seconds after which a client that asks for no broker will never.
_QUIET = 4.0


@dataclass(eq=False)
class _Pair:
    """A client's connection and the broker's that it goes on in; gone when both ways have ended."""

    client: socket.socket
    broker: socket.socket
    waiting: dict[bytes, threading.Event] = field(default_factory=dict)
    lookups: set[bytes] = field(default_factory=set)
    ways: int = 2

    def cut(self) -> None:
        _shut(self.client)
        _shut(self.broker)


@dataclass(eq=False)
class KafkaProxy:
    """What it does with requests, and what it saw.

    Attributes:
        address: What clients take as bootstrap servers.
        lose: Answers still to be lost, by API key: the broker acts, and the connection breaks.
        keep: Requests still to be kept back, by API key: the connection breaks at once, and
            :meth:`deliver` hands the request to the broker afterwards.
        lost: Answers lost and requests kept back so far.
        hide_brokers: Answers about topics name no broker, as those of a broker that its controller
            has just fenced.
        hidden: Answers changed so.
    """

    upstream: int
    server: socket.socket
    lose: dict[int, int] = field(default_factory=dict)
    keep: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    hide_brokers: bool = False
    hidden: int = 0

    def __post_init__(self) -> None:
        self.port = int(self.server.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._kept: list[tuple[_Pair, bytes, threading.Event]] = []
        self._moving = threading.Event()
        self._moving.set()
        self._threads: set[threading.Thread] = set()

    def deafen(self, look: Callable[[], object] = lambda: None) -> None:
        """Have the one client that is connected look for brokers until it looks no more.

        Told of no broker it mostly begins again, and now and then never does (librdkafka issue
        5301).

        Args:
            look: Has it ask about a topic; some do by themselves.

        Raises:
            TimeoutError: it goes on asking.
        """
        deadline = time.monotonic() + 60
        self.hide_brokers = True
        try:
            quiet, seen = time.monotonic() + _QUIET, self.hidden
            while seen == 0 or time.monotonic() < quiet:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"after {seen} answers without a broker")
                look()
                time.sleep(0.02)
                if self.hidden != seen:
                    quiet, seen = time.monotonic() + _QUIET, self.hidden
        finally:
            self.hide_brokers = False

    def drop(self) -> None:
        """Break every connection."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.cut()

    def deliver(self) -> int:
        """Hand the requests that were kept back to the broker; returns how many it answered.

        A broker that was killed meanwhile has forgotten the connection: nothing is late then.
        """
        with self._lock:
            kept, self._kept = self._kept, []
        answered = 0
        for pair, frame, answer in kept:
            with suppress(OSError):
                pair.broker.sendall(frame)
                answered += answer.wait(10)
            pair.cut()
        return answered

    def half_open(self) -> None:
        """From now on connections stay, and nothing comes through."""
        self._moving.clear()

    def heal(self) -> None:
        """Let pass again; what was silent so is broken: the other side has forgotten it."""
        if not self._moving.is_set():
            self.drop()
        self._moving.set()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self.upstream), 5)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            pair = _Pair(client, broker)
            with self._lock:
                self._pairs.add(pair)
            for work in (self._requests, self._answers):
                self._start(work, pair)

    def close(self) -> None:
        """Break every connection and let go of all sockets."""
        self.heal()
        self.drop()
        with self._lock:
            for pair, _, _ in self._kept:
                pair.cut()
            threads = list(self._threads)
        for thread in threads:
            thread.join(5)

    def _start(self, work: Callable[[_Pair], None], pair: _Pair) -> None:
        def run() -> None:
            try:
                with suppress(OSError):
                    work(pair)
            finally:
                self._way_ended(pair)

        thread = threading.Thread(target=run, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _way_ended(self, pair: _Pair) -> None:
        with self._lock:
            self._threads.discard(threading.current_thread())
            pair.ways -= 1
            if pair.ways == 0:
                self._pairs.discard(pair)
                pair.client.close()
                pair.broker.close()

    def _requests(self, pair: _Pair) -> None:
        while frame := _frame(pair.client):
            self._moving.wait()
            key = int.from_bytes(frame[4:6])
            if key == METADATA:
                pair.lookups.add(frame[8:12])
            if self._takes(self.keep, key):
                pair.waiting[frame[8:12]] = threading.Event()
                with self._lock:
                    self._kept.append((pair, frame, pair.waiting[frame[8:12]]))
                    self._pairs.discard(pair)
                _shut(pair.client)
                return
            if self._takes(self.lose, key):
                pair.waiting[frame[8:12]] = threading.Event()
            pair.broker.sendall(frame)
        _shut(pair.broker)

    def _answers(self, pair: _Pair) -> None:
        ours = _HOST + struct.pack(">i", self.port)
        theirs = _HOST + struct.pack(">i", self.upstream)
        try:
            while frame := _frame(pair.broker):
                self._moving.wait()
                if frame[4:8] in pair.waiting:
                    pair.waiting[frame[4:8]].set()
                    return
                if self.hide_brokers and frame[4:8] in pair.lookups:
                    honest, frame = frame, _without_brokers(frame)
                    self.hidden += frame is not honest
                pair.client.sendall(frame.replace(theirs, ours))
        finally:
            _shut(pair.client)

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


def _without_brokers(answer: bytes) -> bytes:
    """A Metadata answer of version 9 or later that leaves its topics without a broker, if any."""
    brokers = 4 + 4 + 1 + 4  # after size, correlation id, no tagged fields, throttle time
    rest = brokers + 1
    for _ in range(answer[brokers] - 1):
        rest += 4  # node id
        rest += answer[rest]  # host: its length + 1 in one byte, and the text
        rest += 4  # port
        rest += max(answer[rest], 1)  # rack, which may be null
        rest += 1  # no tagged fields
    topics = rest + max(answer[rest], 1) + 4  # after the cluster's and the controller's ids
    if answer[topics] == 1:
        return answer
    body = answer[4:brokers] + b"\x01" + answer[rest:]
    return struct.pack(">i", len(body)) + body


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
