"""A scheduler without an assignment that cannot hear Kafka is no stand-by: it ends."""

from functools import partial

from tests.integration.scheduler.pool_bus import PoolBus, a_job, played
from tests.integration.streams.bus import wait_for
from tests.support.kafka_proxy import kafka_proxy

SCHEDULER = "streams.scheduler"


def test_a_scheduler_that_hears_nothing_ends_and_the_next_one_works(pool: PoolBus) -> None:
    with kafka_proxy(pool.settings.kafka) as proxy:
        proxy.half_open()
        with pool.run(SCHEDULER, kafka=proxy.address) as silent:
            assert silent.died() == 1
            assert silent.says('"kind": "KafkaException"')
        proxy.heal()
        pool.admit(a_job())
        with played(pool, 1), pool.run(SCHEDULER, kafka=proxy.address):
            wait_for("its end", partial(pool.ends))
