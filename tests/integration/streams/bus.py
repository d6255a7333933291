"""A set of topics of one test's own, and the streams processes that work on them."""

import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from infra.kafka import committed_consumer, plain_producer
from infra.provision import make_topics, register_schemas
from infra.settings import Settings
from infra.stack.services import python_environment
from schemas.codec import Codec, codec
from schemas.records import DeadLetter, Job, JobRequested, PoolFact, Record
from schemas.topics import Topics
from streams.admission.decide import partition_of

T = TypeVar("T")
R = TypeVar("R", bound=Record)

DEADLINE = 45.0
PARTITIONS = 6


def wait_for(what: str, probe: Callable[[], T | None], deadline: float = DEADLINE) -> T:
    """The first answer of ``probe`` that is not None, False or empty."""
    end = time.monotonic() + deadline
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class Running:
    """A process of the service under test."""

    process: subprocess.Popen[bytes]
    log: Path

    def died(self) -> int:
        """Wait until it ends by itself; its exit status, negative for a signal."""
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def frozen(self) -> bool:
        """Whether it is stopped, by SIGSTOP."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def go_on(self) -> None:
        """Continue it after a stop."""
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def says(self, text: str) -> bool:
        return text in self.log.read_text()


@dataclass
class Bus:
    """Topics under one prefix on the stack's Kafka."""

    settings: Settings
    environment: Mapping[str, str]
    folder: Path
    topics: Topics = field(init=False)
    codec: Codec = field(init=False)

    def __post_init__(self) -> None:
        self.topics = Topics(self.settings.topic_prefix)
        self.codec = codec(self.settings.registry)
        self.producer = plain_producer(self.settings)
        wanted = {self.topics.dlq, self.topics.control, self.inbox, self.requested}
        wanted |= {self.topics.requested(priority) for priority in ("high", "low")}
        declared = self.topics.declared((self.settings.pool,), 1)
        self.declared = [topic for topic in declared if topic.name in wanted]
        make_topics(self.settings, self.declared)
        register_schemas(self.settings, self.declared)

    @property
    def inbox(self) -> str:
        return self.topics.inbox(self.settings.pool)

    @property
    def requested(self) -> str:
        return self.topics.requested("normal")

    @contextmanager
    def run(self, module: str, *arguments: str, **extra: str) -> Iterator[Running]:
        """``python -m module`` with ``TTV_`` settings of this bus; ended when the block ends."""
        log = self.folder / f"{module}-{uuid.uuid4().hex[:6]}.log"
        env = {**python_environment(), **self.environment}
        env |= {f"TTV_{name.upper()}": value for name, value in extra.items()}
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        try:
            yield Running(process, log)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def send(
        self,
        value: bytes | None,
        tenant: str = "acme",
        topic: str | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, str | bytes | None]] = (),
    ) -> TopicPartition:
        """Produce one record, by default into its tenant's partition; where it lies."""
        placed: list[Message] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            placed.append(message)

        self.producer.produce(
            topic or self.requested,
            value,
            tenant.encode(),
            partition=partition_of(tenant, PARTITIONS) if partition is None else partition,
            headers=list(headers),
            on_delivery=delivered,
        )
        assert self.producer.flush(15) == 0
        where = placed[0]
        topic_name, number, offset = where.topic(), where.partition(), where.offset()
        assert topic_name is not None
        assert number is not None
        assert offset is not None
        return TopicPartition(topic_name, number, offset)

    def a_request(self, prompt: str = "a lighthouse", **fields: Any) -> bytes:
        request = JobRequested(tenant_id="acme", prompt=prompt).model_copy(update=fields)
        return self.codec.encode(self.requested, request)

    def messages(self, topic: str, isolation: str = "read_committed") -> list[Message]:
        """Every record of a topic, as it is now; committed ones by default."""
        extra = {"enable.partition.eof": True, "isolation.level": isolation}
        consumer = committed_consumer(self.settings, f"reader-{uuid.uuid4()}", **extra)
        try:
            return _drain(consumer, topic)
        finally:
            consumer.close()

    def read(self, topic: str, model: type[R]) -> list[R]:
        return [self.codec.decode(model, _value(one)) for one in self.messages(topic)]

    def facts(self) -> list[PoolFact]:
        return self.read(self.inbox, PoolFact)

    def admitted(self) -> list[Job]:
        return [fact.admitted for fact in self.facts() if fact.admitted is not None]

    def letters(self) -> list[DeadLetter]:
        return self.read(self.topics.dlq, DeadLetter)

    def prompts(self, count: int) -> list[str]:
        """Prompts of the admitted jobs, once there are ``count`` different ones."""

        def probe() -> list[str] | None:
            found = [job.spec.prompt for job in self.admitted()]
            return found if len(set(found)) >= count else None

        return wait_for(f"{count} admitted jobs", probe)

    def committed(self, group: str, where: TopicPartition) -> int:
        """The offset that ``group`` committed for a partition; 0: none."""
        consumer = committed_consumer(self.settings, self.topics.group(group))
        try:
            found = consumer.committed([TopicPartition(where.topic, where.partition)], timeout=15)
            return max(0, found[0].offset)
        finally:
            consumer.close()


def _value(message: Message) -> bytes | None:
    value = message.value()
    assert value is None or isinstance(value, bytes)
    return value


def _drain(consumer: Consumer, topic: str) -> list[Message]:
    known = consumer.list_topics(topic, timeout=15).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in known])
    found: list[Message] = []
    open_partitions = set(known)
    end = time.monotonic() + DEADLINE
    while open_partitions:
        assert time.monotonic() < end, f"cannot read {topic} to its end"
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is not None:
            open_partitions.discard(message.partition())
        else:
            found.append(message)
    return found
