"""The parts of a stack as a storm's victims: their processes, and whether they have work in flight.

A fault counts only when its victim had work in flight. What that is:

- a GPU consumer: a job that the feed says is in its hands;
- the scheduler: accepted jobs without a terminal event;
- admission, dead letters, collector: records in their topics beyond what they have committed;
- the worker: events beyond the offsets that the read model has committed;
- the API: requests that are being answered;
- a server: accepted jobs without a terminal event.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
from confluent_kafka import Consumer, KafkaException, TopicPartition

from infra.kafka import committed_consumer
from infra.stack import Stack
from schemas.topics import Topics
from tests.chaos.watch import SILENT, Watch
from tests.support.feeds import settings_of

SERVERS = ("kafka", "registry", "s3", "postgres")


def tree(pid: int) -> list[int]:
    """The process and all that it started, itself first."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


class Victims:
    """The parts of one running stack."""

    def __init__(
        self,
        stack: Stack,
        watch: Watch,
        unfinished: Callable[[], int],
        requests_open: Callable[[], int],
    ) -> None:
        self._stack = stack
        self._watch = watch
        self._unfinished = unfinished
        self._requests_open = requests_open
        self._info = stack.info

    def pid(self, part: str) -> int:
        """Process id of a part; 0 while it is down."""
        with suppress(KeyError, OSError):
            return self._stack.process(part).pid
        return 0

    def signal(self, part: str, number: signal.Signals, *, children: bool = False) -> bool:
        """Send a signal to a part, and to its children if wanted; False if it is down.

        PostgreSQL is many processes: its children are always meant.
        """
        pid = self.pid(part)
        if pid == 0:
            return False
        pids = tree(pid) if children or part == "postgres" else [pid]
        for one in pids:
            with suppress(ProcessLookupError):
                os.kill(one, number)
        return True

    def child(self, part: str) -> int:
        """Process id of what a GPU consumer renders in; 0: none."""
        pid = self.pid(part)
        return next(iter(tree(pid)[1:]), 0) if pid else 0

    def busy(self, part: str) -> bool:
        """Whether a part has work in flight now; False too when that cannot be found out."""
        look: Callable[[], bool] = {
            "admission": self._unread,
            "dead-letters": lambda: self._unhandled("dead-letters", Topics().dlq),
            "collector": lambda: self._unhandled("collector", Topics().completed),
            "worker": lambda: asyncio.run(self._unprojected()),
            "api": lambda: self._requests_open() > 0,
        }.get(part, lambda: self._unfinished() > 0)
        if part.startswith("gpu-"):
            return self._watch.in_hand(int(part.removeprefix("gpu-"))) is not None
        try:
            return look()
        except (KafkaException, OSError, asyncpg.PostgresError, TimeoutError):
            return False

    def _unread(self) -> bool:
        topics = Topics()
        names = [topics.requested(priority) for priority in ("high", "normal", "low")]
        with self._committed("admission", [*names, topics.control]) as (consumer, places):
            return any(
                consumer.get_watermark_offsets(place, timeout=2)[1] > max(place.offset, 0)
                for place in places
            )

    def _unhandled(self, part: str, topic: str) -> bool:
        newest = self._watch.newest
        with self._committed(part, [topic]) as (_, places):
            return any(
                newest.get((place.topic, place.partition), -1) >= max(place.offset, 0)
                for place in places
            )

    @contextmanager
    def _committed(
        self, group: str, names: list[str]
    ) -> Iterator[tuple[Consumer, list[TopicPartition]]]:
        """A consumer of a part's group, and what the group has committed of some topics."""
        consumer = committed_consumer(settings_of(self._info), Topics().group(group), logger=SILENT)
        try:
            known = consumer.list_topics(timeout=2).topics
            places = [
                TopicPartition(name, number) for name in names for number in known[name].partitions
            ]
            yield consumer, consumer.committed(places, timeout=2)
        finally:
            consumer.close()

    async def _unprojected(self) -> bool:
        connection = await asyncpg.connect(self._info.postgres, timeout=2)
        try:
            rows = await connection.fetch(
                "SELECT partition, next_offset FROM feed_offsets WHERE feed = 'projection'",
                timeout=2,
            )
        finally:
            await connection.close(timeout=2)
        known = {row["partition"]: row["next_offset"] for row in rows}
        events = Topics().events
        return any(
            topic == events and offset >= known.get(partition, 0)
            for (topic, partition), offset in list(self._watch.newest.items())
        )
