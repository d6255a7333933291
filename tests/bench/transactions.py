"""The transactional discipline of infra/transactions.py beside a bare loop without transactions.

``python -m tests.bench.transactions [--kafka HOST:PORT] [--records N]``; without an address it
starts a Kafka of its own. Both sides produce the same records to the same topic in one run, in
turns; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from infra.kafka import Outgoing, committed_consumer, common
from infra.settings import Settings
from infra.stack import Stack
from infra.transactions import Transactions

TOPIC, VALUE = "ttv.bench", b"x" * 600


@contextlib.contextmanager
def kafka(address: str | None) -> Iterator[str]:
    if address is not None:
        yield address
        return
    with tempfile.TemporaryDirectory() as data, Stack.start(data, only="infra") as stack:
        yield stack.info.kafka


def per_second(count: int, work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


class Rounds:
    def __init__(self, settings: Settings) -> None:
        self.consumer = committed_consumer(settings, "ttv.bench")
        self.transactions = Transactions(settings, "ttv.bench")
        self.transactions.renew()
        self.bare = Producer(
            common(settings) | {"acks": "all", "enable.idempotence": True, "linger.ms": 0}
        )
        self.position = 0

    def in_transactions(self, records: int, size: int) -> None:
        for _ in range(records // size):
            self.position += size
            batch = [Outgoing(TOPIC, VALUE, partition=0)] * size
            self.transactions.commit(batch, TopicPartition(TOPIC, 0, self.position), self.consumer)

    def plainly(self, records: int, size: int) -> None:
        for _ in range(records // size):
            for _ in range(size):
                self.bare.produce(TOPIC, VALUE, partition=0)
            self.bare.flush()

    def measure(self, records: int, size: int) -> tuple[float, float]:
        return (
            per_second(records, lambda: self.in_transactions(records, size)),
            per_second(records, lambda: self.plainly(records, size)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka")
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with kafka(args.kafka) as address:
        settings = Settings(kafka=address)
        admin = AdminClient(common(settings))
        for future in admin.create_topics([NewTopic(TOPIC, 1)]).values():
            with contextlib.suppress(Exception):  # it exists from an earlier run
                future.result(10)
        rounds = Rounds(settings)
        rounds.measure(200, 200)
        for size in (1, 20, 200):
            records = min(args.records, 200 * size)
            pairs = [rounds.measure(records, size) for _ in range(args.rounds)]
            ours, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
            line = {
                "records_per_transaction": size,
                "transactional_records_per_s": round(ours),
                "bare_records_per_s": round(bare),
                "ms_per_transaction": round(1000 * size / ours, 2),
                "ms_per_bare_flush": round(1000 * size / bare, 2),
                "ratio": round(statistics.median(o / b for o, b in pairs), 3),
            }
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
