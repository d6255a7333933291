"""Whose committed offset is gone does not begin again: that would end jobs twice."""

from collections import Counter

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from gpu_consumer.slot_log import SlotLog
from infra.kafka import common
from infra.slots import slot_group
from tests.integration.scheduler.pool_bus import PoolBus, a_job, played
from tests.integration.streams.bus import wait_for


def forget(pool: PoolBus, group: str) -> bool:
    """Delete what a group committed, as the end of its retention does; False: not empty yet."""
    admin = AdminClient(common(pool.settings))
    try:
        admin.delete_consumer_groups([group])[group].result(15)
    except KafkaException:
        return False
    return True


def test_a_slot_whose_offset_is_gone_does_not_open(pool: PoolBus) -> None:
    with played(pool, 1):
        pool.put(pool.an_assign(0, 1, a_job()))
        wait_for("the end", pool.ends)
    assert forget(pool, slot_group(pool.settings))
    log = SlotLog(pool.of_slot(0), "again")
    with pytest.raises(KafkaException):
        log.take()
    log.close()


def test_a_scheduler_whose_offset_is_gone_does_not_start(pool: PoolBus) -> None:
    job = a_job()
    with played(pool, 1):
        with pool.run("streams.scheduler") as scheduler:
            pool.admit(job)
            wait_for("the end", pool.ends)
            scheduler.terminate()
        group = pool.topics.group(f"scheduler.{pool.settings.pool}")
        wait_for("an empty group", lambda: forget(pool, group))
        with pool.run("streams.scheduler") as scheduler:
            assert scheduler.died() == 1
            assert scheduler.says("StateLostError")
    assert Counter(event.kind for event in pool.events())["Admitted"] == 1
