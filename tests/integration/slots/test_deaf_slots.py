"""A Kafka client that has lost all brokers for good: who uses it goes on with a new one."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import KafkaException

from gpu_consumer.slot_log import SlotLog
from infra.kafka import Outgoing
from tests.integration.scheduler.pool_bus import PoolBus, a_job
from tests.integration.streams.bus import wait_for
from tests.support.kafka_proxy import KafkaProxy, kafka_proxy

SLOT = 1


@pytest.fixture
def proxy(pool: PoolBus) -> Iterator[KafkaProxy]:
    with kafka_proxy(pool.settings.kafka) as running:
        yield running


def said(pool: PoolBus, text: str) -> Outgoing:
    return Outgoing(pool.topics.progress, text.encode(), b"one key")


def test_a_slot_opens(pool: PoolBus, proxy: KafkaProxy) -> None:
    log = SlotLog(pool.of_slot(SLOT, kafka=proxy.address), "i1")

    def look() -> None:
        with suppress(KafkaException):
            log._consumer.list_topics(log.topic, 0.2)

    proxy.deafen(look)
    with pytest.raises(KafkaException):
        log.holder()
    log.take()
    log.commit([said(pool, "opened")])
    assert log.holder() == "i1"
    log.close()


def test_a_slot_misses_no_order(pool: PoolBus, proxy: KafkaProxy) -> None:
    log = SlotLog(pool.of_slot(SLOT, kafka=proxy.address), "i1")
    log.take()
    log.commit([said(pool, "opened")])
    log.start_reading()
    jobs = [a_job() for _ in range(3)]

    def order(n: int) -> bytes:
        pool.put(pool.an_assign(SLOT, n, jobs[n - 1]))
        return bytes(wait_for("an order", lambda: log.poll(0.2)).value() or b"")

    orders = [order(1)]
    proxy.half_open()
    with pytest.raises(KafkaException):
        log.holder()
    proxy.heal()
    orders += [order(2), order(3)]
    assert all(job.job_id.encode() in read for job, read in zip(jobs, orders, strict=True))
    assert log.poll(1.0) is None
    log.close()
