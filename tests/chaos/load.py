"""The load of a storm: half over HTTP, half straight to Kafka, until told that it is enough.

It behaves as clients do: what was not confirmed is sent again under the same id. Some jobs are sent
twice on purpose, some with another spec under a used id, some are cancelled, and some records are
no requests at all.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from confluent_kafka import KafkaError, Message, Producer

from infra.stack.info import StackInfo
from schemas.codec import single_object
from schemas.records import CancelRequested, JobRequested
from schemas.topics import Topics
from tests.chaos.journal import Accepted, BadRecord, Cancelling, Entry, Journal, Way
from tests.chaos.watch import SILENT

#: Shares of the jobs that are cancelled, sent twice, and sent again with another spec; and how many
#: bad records there are for each job.
CANCELLED, REPEATED, CONFLICTING, BAD = 0.05, 0.05, 0.02, 0.03
_HTTP_THREADS: Final = 4
_KAFKA_BATCH: Final = 16
_TENANTS: Final = ("storm-a", "storm-b", "storm-c")
_PRIORITIES: Final = ("high", "normal", "low")


@dataclass(frozen=True)
class Order:
    """One job to be sent, all of it decided by the seed and its number."""

    job_id: str
    priority: str
    tenant_id: str
    cancel: bool
    repeat: bool
    conflict: bool
    bad: bool

    @classmethod
    def of(cls, seed: int, way: Way, number: int, tenant: str) -> Order:
        """The job of this number."""
        chance = random.Random(f"{seed} {way} {number}")
        return cls(
            job_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            priority=chance.choice(_PRIORITIES),
            tenant_id=tenant if way == "http" else chance.choice(_TENANTS),
            cancel=chance.random() < CANCELLED,
            repeat=chance.random() < REPEATED,
            conflict=chance.random() < CONFLICTING,
            bad=chance.random() < BAD,
        )


class Load:
    """Sends jobs from threads of its own, as long as no more than a window of them is unfinished.

    Attributes:
        open_requests: HTTP requests that are being answered.
        failure: What ended a thread of it, if anything did.
    """

    def __init__(
        self,
        info: StackInfo,
        spec: dict[str, Any],
        seed: int,
        journal: Journal,
        ended: Callable[[], int],
        window: int,
    ) -> None:
        self._info = info
        self._spec = spec
        self._seed = seed
        self._journal = journal
        self._ended = ended
        self._window = window
        self._topics = Topics()
        self._lock = threading.Lock()
        self._numbers: dict[Way, int] = {"http": 0, "kafka": 0}
        self._extra: dict[Way, int] = {"http": 0, "kafka": 0}
        self._spoilt = False
        self._enough = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listeners: list[Callable[[Way, float], None]] = []
        self.open_requests = 0
        self.failure: Exception | None = None

    def listen(self, listener: Callable[[Way, float], None]) -> None:
        """Have every confirmation told, with the moment at which its request was sent."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begin to send."""
        works = [self._over_http] * _HTTP_THREADS + [self._over_kafka]
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True) for work in works
        ]
        for thread in self._threads:
            thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told by the storm's report
            self.failure = error

    def finish(self) -> None:
        """Send nothing new; returns once all that was begun is confirmed."""
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def burst(self) -> None:
        """Send a few jobs beyond the window, but not for ever, and a bad record."""
        with self._lock:
            if self.unfinished < 2 * self._window:
                self._extra = {"http": _HTTP_THREADS, "kafka": 2}
            self._spoilt = True

    @property
    def unfinished(self) -> int:
        """Confirmed jobs without a terminal event."""
        return len(self._journal.accepted) - self._ended()

    def _next(self, way: Way) -> Order | None:
        """The next job to send, once there is room for it; None when it is enough."""
        while not self._enough.is_set():
            with self._lock:
                if self._extra[way] > 0 or self.unfinished < self._window:
                    self._extra[way] = max(0, self._extra[way] - 1)
                    self._numbers[way] += 1
                    return Order.of(self._seed, way, self._numbers[way], self._info.tenant)
            time.sleep(0.02)
        return None

    def _confirmed(self, way: Way, sent_at: float, entries: Iterable[Entry]) -> None:
        self._journal.note(entries)
        for listener in self._listeners:
            listener(way, sent_at)

    # HTTP

    def _over_http(self) -> None:
        headers = {"authorization": f"Bearer {self._info.api_key}"}
        with httpx2.Client(base_url=self._info.http, headers=headers, timeout=10) as client:
            while order := self._next("http"):
                self._submit(client, order)

    def _submit(self, client: httpx2.Client, order: Order) -> None:
        body = {"job_id": order.job_id, "priority": order.priority, **self._spec}
        began = time.monotonic()
        self._until_answered(client, "/v1/jobs", body)
        accepted = Accepted(order.job_id, order.tenant_id, "http")
        self._confirmed("http", began, [accepted])
        if order.repeat:
            self._until_answered(client, "/v1/jobs", body)
        if order.conflict:
            self._until_answered(client, "/v1/jobs", body | {"prompt": "another"}, otherwise=409)
        if order.cancel:
            self._journal.note([Cancelling(order.job_id)])
            cancel = f"/v1/jobs/{order.job_id}/cancel"
            self._until_answered(client, cancel, {}, otherwise=409)  # it may have ended already

    def _until_answered(
        self, client: httpx2.Client, path: str, body: dict[str, Any], otherwise: int = 0
    ) -> None:
        """Until it is answered as it must be; the job id makes the repeats harmless.

        Raises:
            AssertionError: it was refused for good.
        """
        while True:
            with contextlib.suppress(httpx2.TransportError):
                with self._lock:
                    self.open_requests += 1
                try:
                    status = client.post(path, json=body).status_code
                finally:
                    with self._lock:
                        self.open_requests -= 1
                if status in {200, 202, otherwise}:
                    return
                # An API that was frozen has waited for the body in vain: 408.
                assert status >= 500 or status in {408, 429}, f"{path} was answered {status}"
            time.sleep(0.2)

    # Kafka

    def _over_kafka(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._info.kafka,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 15_000,
                "reconnect.backoff.max.ms": 1000,
            },
            logger=SILENT,
        )
        while order := self._next("kafka"):
            batch = [order]
            while len(batch) < _KAFKA_BATCH and self.unfinished + len(batch) < self._window:
                batch.append(self._next("kafka") or order)
            self._send_batch(producer, list(dict.fromkeys(batch)))

    def _send_batch(self, producer: Producer, orders: list[Order]) -> None:
        began = time.monotonic()
        self._until_acknowledged(producer, [self._request(order) for order in orders])
        accepted = [Accepted(each.job_id, each.tenant_id, "kafka") for each in orders]
        self._confirmed("kafka", began, accepted)
        cancels = [each for each in orders if each.cancel]
        self._journal.note(Cancelling(each.job_id) for each in cancels)
        more = [self._request(each) for each in orders if each.repeat]
        more += [self._request(each, prompt="another") for each in orders if each.conflict]
        more += [self._cancel(each) for each in cancels]
        self._until_acknowledged(producer, more)
        with self._lock:
            spoilt, self._spoilt = self._spoilt, False
        bad = [self._bad(each) for each in orders if each.bad or spoilt]
        self._journal.note(BadRecord(*place) for place in self._until_acknowledged(producer, bad))

    def _request(self, order: Order, **changed: Any) -> tuple[str, bytes, bytes]:
        fields = self._spec | changed
        request = JobRequested(job_id=order.job_id, tenant_id=order.tenant_id, **fields)
        topic = self._topics.requested(order.priority)
        return topic, single_object(request), order.tenant_id.encode()

    def _cancel(self, order: Order) -> tuple[str, bytes, bytes]:
        cancel = CancelRequested(job_id=order.job_id, tenant_id=order.tenant_id)
        return self._topics.control, single_object(cancel), order.job_id.encode()

    def _bad(self, order: Order) -> tuple[str, bytes, bytes]:
        value = random.Random(order.job_id).randbytes(40)
        return self._topics.requested(order.priority), value, order.tenant_id.encode()

    def _until_acknowledged(
        self, producer: Producer, records: list[tuple[str, bytes, bytes]]
    ) -> list[tuple[str, int, int]]:
        """Where each record lies; what the broker did not take is produced again."""
        places: dict[int, tuple[str, int, int]] = {}

        def delivered(number: int) -> Callable[[KafkaError | None, Message], None]:
            def note(error: KafkaError | None, message: Message) -> None:
                if error is None:
                    place = int(message.partition() or 0), int(message.offset() or 0)
                    places[number] = (str(message.topic()), *place)

            return note

        while len(places) < len(records):
            for number, (topic, value, key) in enumerate(records):
                if number not in places:
                    producer.produce(topic, value, key, on_delivery=delivered(number))
            while producer.flush(1):
                pass
        return [places[number] for number in range(len(records))]
