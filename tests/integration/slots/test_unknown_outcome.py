"""A commit whose answer is lost is found done, and not done again."""

from collections.abc import Iterator
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from gpu_consumer.slot_log import SlotLog
from infra.kafka import Outgoing, committed_consumer
from infra.transactions import TransactionError, Transactions
from tests.integration.scheduler.pool_bus import PoolBus
from tests.integration.streams.bus import PARTITIONS, wait_for
from tests.support.kafka_proxy import END_TXN, KafkaProxy, kafka_proxy

GROUP = "writer"


@pytest.fixture
def proxy(pool: PoolBus) -> Iterator[KafkaProxy]:
    with kafka_proxy(pool.settings.kafka) as running:
        yield running


class Writer:
    """One transactional id that writes through the proxy."""

    def __init__(self, pool: PoolBus, proxy: KafkaProxy) -> None:
        self.pool = pool
        settings = pool.settings.model_copy(update={"kafka": proxy.address})
        self.transactions = Transactions(settings, f"{pool.settings.topic_prefix}writer")
        self.consumer = committed_consumer(settings, pool.topics.group(GROUP))
        self.transactions.renew()

    def record(self, text: str) -> Outgoing:
        return Outgoing(self.pool.topics.progress, text.encode(), b"one key")

    def commit(self, text: str, offset: int) -> None:
        position = TopicPartition(self.pool.inbox, 0, offset)
        self.transactions.commit([self.record(text)], position, self.consumer)

    def lies_there(self, text: str) -> bool:
        """Whether a record has reached the topic, committed or not."""
        topic, extra = self.pool.topics.progress, {"isolation.level": "read_uncommitted"}
        consumer = committed_consumer(self.pool.settings, "spy", **extra)
        consumer.assign([TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
        try:
            found = consumer.consume(100, 1.0)
        finally:
            consumer.close()
        return text in [bytes(one.value() or b"").decode() for one in found]

    def heard(self) -> list[str]:
        found = self.pool.messages(self.pool.topics.progress)
        return [bytes(one.value() or b"").decode() for one in found]

    def committed(self) -> int:
        return self.pool.committed(GROUP, TopicPartition(self.pool.inbox, 0))


def no_transaction_runs() -> bool:
    return "transaction" not in {thread.name for thread in enumerate_threads()}


@pytest.fixture
def writer(pool: PoolBus, proxy: KafkaProxy) -> Iterator[Writer]:
    writer = Writer(pool, proxy)
    yield writer
    writer.transactions.discard()
    writer.consumer.close()


def slot_behind(pool: PoolBus, proxy: KafkaProxy) -> SlotLog:
    log = SlotLog(pool.of_slot(0, kafka=proxy.address), "i1")
    log.take()
    return log


def test_a_slot_whose_answer_is_lost_on_the_way_has_committed_once(
    pool: PoolBus, proxy: KafkaProxy, writer: Writer
) -> None:
    log = slot_behind(pool, proxy)
    proxy.lose[END_TXN] = 1
    log.commit([writer.record("done")], done=1, offset=5)
    log.commit([writer.record("next")], done=2, offset=6)
    assert proxy.lost == 1
    assert writer.heard() == ["done", "next"]
    place = pool.place(0)
    assert place is not None
    assert (place[0], place[1].n, place[1].seq) == (6, 2, 2)
    log.close()


@pytest.mark.parametrize("happened", [True, False])
def test_a_slot_that_cannot_know_reads_what_happened(
    pool: PoolBus,
    proxy: KafkaProxy,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    happened: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    log = slot_behind(pool, proxy)
    commit = Transactions.commit
    unknown = iter([True])

    def commit_and_not_know(self: Transactions, *arguments: Any) -> None:
        first = next(unknown, False)
        if happened or not first:
            commit(self, *arguments)
        if first:
            self.discard()
            raise TransactionError("nobody answered")

    monkeypatch.setattr(Transactions, "commit", commit_and_not_know)
    log.commit([writer.record("done")], done=1, offset=5)
    log.commit([writer.record("next")], done=2, offset=6)
    assert writer.heard() == ["done", "next"]
    place = pool.place(0)
    assert place is not None
    assert (place[0], place[1].n, place[1].seq) == (6, 2, 2)
    log.close()


def test_a_late_end_of_a_transaction_does_not_end_the_next_one(
    writer: Writer, proxy: KafkaProxy
) -> None:
    writer.commit("first", 1)
    proxy.keep[END_TXN] = 1
    writer.commit("second", 2)  # its end lies in the network; the client has sent another
    assert proxy.lost == 1
    if not writer.transactions.usable:
        writer.transactions.renew()

    def half_a_transaction() -> Iterator[Outgoing]:
        yield writer.record("third")
        wait_for("the record", lambda: writer.lies_there("third"))
        assert proxy.deliver() == 1
        raise KeyboardInterrupt

    position = TopicPartition(writer.pool.inbox, 0, 3)
    with pytest.raises(KeyboardInterrupt):
        writer.transactions.commit(half_a_transaction(), position, writer.consumer)
    writer.transactions.renew()
    assert writer.heard() == ["first", "second"]
    assert writer.committed() == 2


def test_a_producer_whose_connection_broke_is_not_used_again(
    writer: Writer, proxy: KafkaProxy
) -> None:
    """librdkafka logs the same error of a connection once in 30 s: the first must be enough."""
    writer.commit("first", 1)
    proxy.drop()

    def go_on() -> None:
        for offset in (2, 3):
            while not writer.transactions.usable:
                writer.transactions.renew()
            proxy.lose[END_TXN] = offset - 2  # the second loses its answer
            writer.commit(f"number {offset}", offset)

    working = Thread(target=go_on, daemon=True)
    working.start()
    working.join(15)
    assert not working.is_alive(), "a transaction after a disconnect hangs"
    assert proxy.lost == 1
    assert not writer.transactions.usable
    assert writer.heard() == ["first", "number 2", "number 3"]


def test_a_transaction_that_hangs_is_left_behind(writer: Writer) -> None:
    hanging, left = Event(), Event()

    def records() -> Iterator[Outgoing]:
        yield writer.record("half")
        hanging.wait()
        left.set()

    writer.commit("first", 1)
    patience, writer.transactions._timeout = writer.transactions._timeout, 0.2
    with pytest.raises(TransactionError, match="has not returned"):
        writer.transactions.commit(
            records(), TopicPartition(writer.pool.inbox, 0, 2), writer.consumer
        )
    assert not writer.transactions.usable
    writer.transactions._timeout = patience
    writer.transactions.renew()
    hanging.set()  # it goes on now, with a producer that is fenced
    assert left.wait(10)
    writer.commit("second", 2)
    wait_for("its thread's end", no_transaction_runs)
    assert writer.heard() == ["first", "second"]
    assert writer.committed() == 2
