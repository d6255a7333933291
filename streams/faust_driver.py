"""Faust's Kafka driver, made safe: what it would read, commit or send wrongly is overridden here.

Faust reads uncommitted records unless its own exactly-once mode is on, counts the record after a
gap in the log as part of the gap, and produces without idempotence. Everything else of its driver
is used as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import aiokafka
import faust
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, TransportT

_MIB: Final = 1024 * 1024
#: The largest record of any topic (jobs.dlq) with room for its batch header.
MAX_REQUEST_BYTES: Final = 3 * _MIB


class CommitAge:
    """How long the oldest acknowledged event has been waiting for its offset to be committed.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    def acknowledged(self) -> None:
        """An event was acknowledged."""
        if self._since is None:
            self._since = self._clock()

    def committed(self, started: float, *, pending: bool) -> None:
        """A commit that began at ``started`` ended; ``pending``: events acknowledged since."""
        if self._since is not None:
            self._since = max(self._since, started) if pending else None

    def seconds(self) -> float:
        """The age; 0 when nothing waits."""
        return 0.0 if self._since is None else self._clock() - self._since


class CommittedThread(driver.AIOKafkaConsumerThread):
    """Consumes committed records only, as a static member of its group."""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        login = self.app.login if isinstance(self.app, StreamsApp) else {}
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            # A process that is restarted takes its partitions back at once instead of after a
            # session timeout.
            group_instance_id=conf.consumer_group_instance_id or None,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            **login,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=MAX_REQUEST_BYTES,
            fetch_max_wait_ms=200,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed",
        )


class CommittedConsumer(driver.Consumer):
    """Faust's consumer with an honest idea of gaps and a clock on its commits."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # ``offset_to`` is the offset of the record that was read after the gap. Faust puts it into
        # the gap; where neighbouring gaps merge (one marker follows each transaction), a record
        # would then be committed before it was processed.
        await super()._add_gap(tp, offset_from, offset_to - 1)

    async def force_commit(self, *args: Any, **options: Any) -> bool:
        """Commit what is acknowledged, and note when that was."""
        started = time.monotonic()
        done = await super().force_commit(*args, **options)
        if isinstance(self.app, StreamsApp):
            self.app.commit_age.committed(started, pending=any(self._acked.values()))
        return bool(done)


class IdempotentProducer(driver.Producer):
    """Faust's producer with idempotence: a retried batch is written once, and in order."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def _settings_auth(self) -> Mapping[str, Any]:
        return self.app.login if isinstance(self.app, StreamsApp) else {}

    async def partitions_of(self, topic: str) -> int:
        """How many partitions ``topic`` has."""
        return len(await self._ensure_producer().partitions_for(topic))


class CommittedTransport(driver.Transport):
    """Makes the two above."""

    Consumer: ClassVar[type[CommittedConsumer]] = CommittedConsumer
    Producer: ClassVar[type[IdempotentProducer]] = IdempotentProducer


class StreamsApp(faust.App):
    """A Faust app on the safe driver.

    Attributes:
        commit_age: Age of the oldest uncommitted acknowledgement.
        login: How its clients prove to Kafka who they are.
    """

    def __init__(self, *args: Any, login: Mapping[str, Any], **options: Any) -> None:
        self.commit_age = CommitAge()
        self.login = login
        super().__init__(*args, **options)

    def _new_transport(self) -> TransportT:
        return CommittedTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> TransportT:
        return CommittedTransport(self.conf.broker_producer, self)


def make_app(
    group: str,
    *,
    name: str,
    instance: str,
    brokers: str,
    login: Mapping[str, Any],
    request_timeout: float,
    folder: Path,
    longest: float = 300.0,
) -> StreamsApp:
    """A Faust app that declares no topics, serves no web page, and keeps no tables.

    Args:
        group: Consumer group.
        name: Name of the process.
        instance: Names this replica among those of the group, stably.
        brokers: Bootstrap servers, host:port[,host:port].
        login: Arguments of aiokafka's clients, from infra/kafka_login.py.
        request_timeout: Seconds after which a produce request has failed.
        folder: Where Faust may keep files; it has no tables, so they stay empty.
        longest: Seconds that one record may take; beyond it Faust complains.
    """
    return StreamsApp(
        group,
        login=login,
        broker=[f"kafka://{server.strip()}" for server in brokers.split(",")],
        broker_client_id=f"{name}-{instance}",
        datadir=folder,
        consumer_group_instance_id=f"{name}-{instance}",
        broker_commit_interval=0.5,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        broker_request_timeout=30.0,
        broker_rebalance_timeout=30.0,
        # While the registry is away a record is retried for as long as it takes: the process is
        # well and keeps its partitions. What could hang has deadlines of its own.
        broker_max_poll_interval=86_400.0 + longest,
        broker_commit_livelock_soft_timeout=longest,
        stream_processing_timeout=longest,
        broker_max_poll_records=200,
        producer_acks=-1,
        producer_linger=0.0,
        producer_max_request_size=MAX_REQUEST_BYTES,
        producer_request_timeout=request_timeout,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,  # a clean stop need not wait: what is not acknowledged is repeated
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        web_enabled=False,
        autodiscover=False,
    )
