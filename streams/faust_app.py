"""One process around a Faust agent that is at-least-once by hand.

For each record, in order: handle it, wait until the broker has acknowledged every output, then
acknowledge the record. Faust would acknowledge a record whose handler failed and ignore failed
sends, so any exception ends the process instead: the supervisor starts it again and it reads on
from what was committed. Repeats must be harmless to whoever reads the outputs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, Protocol, TypeVar, cast

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import Counter, Gauge

from infra.crash import crash_point
from infra.kafka import Outgoing
from infra.kafka_login import aiokafka_login
from infra.settings import Settings
from infra.telemetry import log, start
from schemas.codec import Codec
from schemas.errors import RegistryUnavailable
from schemas.records import Record
from schemas.topics import Topics
from streams import lenient_headers
from streams.faust_driver import IdempotentProducer, StreamsApp, make_app
from streams.incoming import Incoming

R = TypeVar("R", bound=Record)

#: An output not acknowledged by the broker within this many seconds ends the process.
OUTPUT_DEADLINE: Final = 20.0
#: Acknowledged offsets uncommitted for this many seconds raise the alarm, and then end the process.
COMMIT_ALARM, COMMIT_LIMIT = 15.0, 120.0
_STOP_DEADLINE: Final = 8.0
_WATCH_INTERVAL: Final = 0.5
_EXIT_FAILED: Final = 70

#: Seconds since the oldest acknowledged record whose offset is not committed yet.
COMMIT_AGE: Final = Gauge(
    "ttv_commit_age_seconds", "Age of the oldest acknowledged, uncommitted record.", ["app"]
)
#: Records handled to the end, by topic kind.
HANDLED: Final = Counter("ttv_records_handled_total", "Records handled.", ["app", "topic"])


class Handler(Protocol):
    """What a process does with its records, one at a time, in order of each partition."""

    async def __call__(self, record: Incoming, /) -> None:
        """Handle ``record``; on return its outputs are acknowledged. An exception ends all."""


class Outbox:
    """Sends records and waits for the broker's word; codec calls never block the loop."""

    def __init__(self, app: StreamsApp, codec: Codec, deadline: float = OUTPUT_DEADLINE) -> None:
        self._app = app
        self._codec = codec
        self._deadline = deadline
        self._warm: set[tuple[str, type[Record]]] = set()

    @property
    def _producer(self) -> IdempotentProducer:
        return cast("IdempotentProducer", self._app.producer)

    async def send(self, out: Outgoing) -> None:
        """Produce ``out`` and await the acknowledgement of all in-sync replicas.

        Raises:
            TimeoutError: not acknowledged within the deadline.
            KafkaError: refused.
        """
        async with asyncio.timeout(self._deadline):
            sent = await self._producer.send(
                out.topic, out.key, out.value, out.partition, None, list(out.headers)
            )
            await sent

    async def partitions_of(self, topic: str) -> int:
        """How many partitions ``topic`` has. Raises TimeoutError."""
        async with asyncio.timeout(self._deadline):
            return await self._producer.partitions_of(topic)

    async def encode(self, topic: str, record: Record) -> bytes:
        """``record`` as a value for ``topic``; waits for the registry as long as it takes."""
        known = (topic, type(record))
        if known in self._warm:
            return self._codec.encode(topic, record)
        value = await patiently(lambda: self._codec.encode(topic, record))
        self._warm.add(known)
        return value

    async def decode(self, model: type[R], value: bytes | None) -> R:
        """The record in ``value``; waits for the registry as long as it takes.

        Raises:
            CodecError: a permanent one.
        """
        if not self._codec.needs_registry(value):
            return self._codec.decode(model, value)
        return await patiently(lambda: self._codec.decode(model, value))


T = TypeVar("T")


async def patiently(call: Callable[[], T], first: float = 0.2, most: float = 5.0) -> T:
    """Run a blocking ``call`` aside, again and again while the registry does not answer.

    Args:
        call: What to do in a thread.
        first: Seconds to wait after the first failure; doubles.
        most: Longest wait.
    """
    delay = first
    while True:
        try:
            return await asyncio.to_thread(call)
        except RegistryUnavailable as error:
            log().warning("registry.unavailable", error=str(error)[:200], retry_in=delay)
        await asyncio.sleep(delay)
        delay = min(delay * 2, most)


def end_process(why: str, **about: Any) -> NoReturn:
    """Say why, and exit at once: nothing more is acknowledged or committed."""
    log().error(why, **about)
    sys.stdout.flush()
    logging.shutdown()
    os._exit(_EXIT_FAILED)


def run(
    config: Settings,
    name: str,
    topics: Iterable[str],
    make_handler: Callable[[Outbox], Handler],
    codec: Codec,
    longest: float = 300.0,
) -> None:
    """Run one app until SIGTERM or SIGINT; does not return on a failure.

    Args:
        config: Settings.
        name: Of the process, its consumer group and its metrics.
        topics: Full names of the topics it reads.
        make_handler: Makes the handler, given where to send outputs.
        codec: Reads and writes values.
        longest: Seconds that one record may take.
    """
    start(name, config)
    lenient_headers.install()
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    asyncio.run(_serve(config, name, list(topics), make_handler, codec, longest))


async def _serve(
    config: Settings,
    name: str,
    topics: list[str],
    make_handler: Callable[[Outbox], Handler],
    codec: Codec,
    longest: float,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    folder = config.work_dir / "faust"
    folder.mkdir(parents=True, exist_ok=True)
    app = make_app(
        Topics(config.topic_prefix).group(name),
        name=name,
        instance=config.instance,
        brokers=config.kafka,
        login=aiokafka_login(config),
        request_timeout=OUTPUT_DEADLINE,
        folder=folder,
        longest=longest,
    )
    _attach(app, name, topics, make_handler(Outbox(app, codec)), config.topic_prefix)
    starting = asyncio.ensure_future(app.start())
    await _watch(app, name, starting, stop)
    try:
        async with asyncio.timeout(_STOP_DEADLINE):
            await app.stop()
    except TimeoutError:
        end_process("app.stop_overdue", seconds=_STOP_DEADLINE)
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(2000)
    log().info("app.stopped")
    sys.stdout.flush()
    # Faust's threads may linger; everything that matters is committed.
    os._exit(0)


def _attach(app: StreamsApp, name: str, topics: list[str], handle: Handler, prefix: str) -> None:
    channel = app.topic(
        *topics,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )

    async def consume(stream: Any) -> None:
        try:
            async for event in stream.noack().events():
                record = _incoming(event.message)
                await handle(record)
                crash_point(f"{name}_before_ack")
                event.ack()
                crash_point(f"{name}_before_commit")
                app.commit_age.acknowledged()
                HANDLED.labels(name, record.topic.removeprefix(prefix)).inc()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 whatever it is, the process ends
            _end_on(error)

    app.agent(channel, name=name, concurrency=1)(consume)


def _end_on(error: BaseException) -> NoReturn:
    """End the process; the traceback's lines are ours, its values may be a tenant's: types only."""
    frames = []
    step = error.__traceback__
    while step is not None:
        frames.append(f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}")
        step = step.tb_next
    end_process("handler.failed", error=type(error).__name__, frames=frames[-4:])


def _incoming(message: Any) -> Incoming:
    headers = message.headers or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    return Incoming(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        timestamp_ms=round(message.timestamp * 1000),
        headers=[(name, value) for name, value in pairs],
    )


async def _watch(
    app: StreamsApp, name: str, starting: asyncio.Future[Any], stop: asyncio.Event
) -> None:
    """Return when asked to stop; end the process when Faust has failed or commits are stuck."""
    alarmed = False
    COMMIT_AGE.labels(name).set_function(app.commit_age.seconds)
    while not stop.is_set():
        if app.crashed:
            end_process("app.crashed", error=type(app.crash_reason).__name__)
        if starting.done() and starting.exception() is not None:
            end_process("app.start_failed", error=repr(starting.exception())[:300])
        age = app.commit_age.seconds()
        if age > COMMIT_LIMIT:
            end_process("commit.stuck", age=round(age, 1))
        if age > COMMIT_ALARM and not alarmed:
            log().error("commit.stalled", age=round(age, 1), limit=COMMIT_LIMIT)
        alarmed = age > COMMIT_ALARM
        try:
            await asyncio.wait_for(stop.wait(), _WATCH_INTERVAL)
        except TimeoutError:
            continue
