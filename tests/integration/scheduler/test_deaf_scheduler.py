"""A stand-by whose Kafka client has lost all brokers for good is none: it ends, to be replaced."""

from functools import partial

from tests.integration.scheduler.pool_bus import PoolBus, a_job, played
from tests.integration.streams.bus import wait_for
from tests.support.kafka_proxy import kafka_proxy

SCHEDULER = "streams.scheduler"


def test_a_stand_by_that_hears_nothing_more_ends(pool: PoolBus) -> None:
    with (
        kafka_proxy(pool.settings.kafka) as proxy,
        pool.run(SCHEDULER, instance="0") as first,
        played(pool, 1),
    ):
        wait_for("its assignment", partial(first.says, "scheduler.assigned"))
        proxy.hide_brokers = True
        with pool.run(SCHEDULER, instance="1", kafka=proxy.address) as deaf:
            proxy.deafen()
            assert deaf.died() == 1
            assert deaf.says('"kind": "KafkaException"')
        with pool.run(SCHEDULER, instance="1", kafka=proxy.address) as stand_by:
            wait_for("a second member", lambda: pool.members("scheduler") == 2)
            first.kill()
            pool.admit(a_job())
            wait_for("its end", partial(pool.ends))
            assert stand_by.says("scheduler.assigned")
