"""Logs are cut below what their readers have committed, and readers go on as if nothing was."""

from datetime import UTC, datetime, timedelta

from confluent_kafka import Message, TopicPartition

from infra.kafka import committed_consumer
from infra.slots import slot_group
from schemas.events import broker_time
from streams.scheduler.trim import trim
from tests.integration.scheduler.pool_bus import PlayedSlot, PoolBus, a_job, played
from tests.integration.streams.bus import wait_for

SCHEDULER = "streams.scheduler"


def first_offset(pool: PoolBus, topic: str, partition: int = 0) -> int:
    consumer = committed_consumer(pool.settings, slot_group(pool.settings))
    try:
        place = TopicPartition(topic, partition)
        low, _ = consumer.get_watermark_offsets(place, timeout=15.0)
        return int(low)
    finally:
        consumer.close()


def ends(pool: PoolBus, count: int) -> bool:
    return len(pool.ends()) == count


def a_minute_from_now() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def some_work_done(pool: PoolBus, jobs: int) -> None:
    """Jobs done on slot 0 of three, by a scheduler and a slot that have ended since."""
    with played(pool, 1), pool.run(SCHEDULER) as scheduler:
        pool.admit(*(a_job() for _ in range(jobs)))
        wait_for("the ends", lambda: ends(pool, jobs))
        wait_for("idle", lambda: pool.folded() > 4 * jobs)
        assert scheduler.terminate() == 0


def test_scheduler_and_slot_go_on_after_everything_they_read_is_gone(pool: PoolBus) -> None:
    some_work_done(pool, 3)
    folded, place = pool.folded(), pool.place(0)
    assert place is not None
    cuts = trim(pool.settings, folded, a_minute_from_now())
    assert cuts == {(pool.inbox, 0): folded, (pool.assignments, 0): place[0]}
    assert first_offset(pool, pool.inbox) == folded
    assert first_offset(pool, pool.assignments) == place[0]
    with played(pool, 1), pool.run(SCHEDULER) as scheduler:
        pool.admit(a_job())
        wait_for("the end", lambda: ends(pool, 4))
        assert scheduler.terminate() == 0
    assert trim(pool.settings, folded, a_minute_from_now()).keys() == {(pool.assignments, 0)}


def test_nothing_above_a_committed_offset_goes(pool: PoolBus) -> None:
    some_work_done(pool, 2)
    slot = PlayedSlot(pool, 0)
    slot.open()
    with pool.run(SCHEDULER):
        waiting = a_job()
        pool.admit(waiting)
        orders = wait_for("the order", lambda: pool.orders()[2:])
    slot.log.close()
    place = pool.place(0)
    assert place is not None
    assert place[1].n == 2
    trim(pool.settings, pool.folded(), a_minute_from_now())
    assert [order.job_id for _, order in pool.orders()] == [waiting.job_id]
    assert orders[0][1].n == 3
    with played(pool, 1):  # the order is still there to be taken
        wait_for("its end", lambda: ends(pool, 3))


def test_what_is_young_stays_and_what_is_old_goes_only_if_it_is_read(pool: PoolBus) -> None:
    some_work_done(pool, 1)
    assert trim(pool.settings, pool.folded(), datetime.now(UTC) - timedelta(hours=1)) == {}
    inbox = pool.messages(pool.inbox)
    middle = inbox[len(inbox) // 2]
    then = broker_time(middle.timestamp()[1])
    assert trim(pool.settings, 2, then)[pool.inbox, 0] == 2
    assert trim(pool.settings, pool.folded(), then) == {(pool.inbox, 0): first_at(then, inbox)}


def first_at(then: datetime, messages: list[Message]) -> int:
    """Offset of the first record that is not older."""
    return next(
        message.offset() or 0 for message in messages if broker_time(message.timestamp()[1]) >= then
    )


def test_slots_that_never_opened_and_pools_that_never_ran_are_left_alone(pool: PoolBus) -> None:
    pool.put(pool.an_assign(1, 1, a_job()))
    pool.admit(a_job())
    assert trim(pool.settings, 0, a_minute_from_now()) == {}


def test_the_scheduler_does_it_by_itself(pool: PoolBus) -> None:
    with pool.run(SCHEDULER, trim_interval="0.5", trim_keep="0"):
        wait_for("a cut", lambda: first_offset(pool, pool.inbox) > 3)


def test_the_scheduler_can_be_told_to_keep_everything(pool: PoolBus) -> None:
    with pool.run(SCHEDULER, trim_interval="0", trim_keep="0"):
        wait_for("some folding", lambda: pool.folded() > 20)
        assert first_offset(pool, pool.inbox) == 0
