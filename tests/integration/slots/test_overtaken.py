"""Whoever has lost a slot commits nothing any more, however late it finds out."""

import pytest

from gpu_consumer.slot_log import FencedError, SlotLog
from infra.kafka import Outgoing
from streams.scheduler.commands import Fence
from streams.scheduler.fencing import fence
from tests.integration.scheduler.pool_bus import PoolBus, a_job

SLOT = 1


def said(pool: PoolBus, text: str) -> Outgoing:
    return Outgoing(pool.topics.progress, text.encode(), b"one key")


def heard(pool: PoolBus) -> list[str]:
    return [bytes(one.value() or b"").decode() for one in pool.messages(pool.topics.progress)]


def opening(pool: PoolBus, name: str) -> SlotLog:
    log = SlotLog(pool.of_slot(SLOT), name)
    log.take()
    log.commit([said(pool, f"{name} opens")])
    return log


def test_an_overtaken_slot_cannot_commit_though_it_makes_a_new_producer(pool: PoolBus) -> None:
    old = opening(pool, "old")
    new = opening(pool, "new")
    with pytest.raises(FencedError):
        old.commit([said(pool, "old ends a job")], done=1, offset=7)
    new.commit([said(pool, "new ends a job")], done=1, offset=7)
    assert heard(pool) == ["old opens", "new opens", "new ends a job"]
    for log in (old, new):
        log.close()


def test_a_slot_overtaken_before_it_has_opened_cannot_open(pool: PoolBus) -> None:
    old = SlotLog(pool.of_slot(SLOT), "old")
    old.take()
    new = opening(pool, "new")
    with pytest.raises(FencedError):
        old.commit([said(pool, "old opens")])
    new.commit([said(pool, "new goes on")])
    assert heard(pool) == ["new opens", "new goes on"]
    for log in (old, new):
        log.close()


def test_a_fenced_slot_cannot_commit_and_its_successor_finds_nothing_to_resume(
    pool: PoolBus,
) -> None:
    frozen = opening(pool, "frozen")
    pool.put(pool.an_assign(SLOT, 1, a_job()))
    fence(pool.settings, pool.codec, Fence(SLOT, "frozen", 1))
    with pytest.raises(FencedError):
        frozen.commit([said(pool, "a second completion")], done=1, offset=1)
    assert heard(pool) == ["frozen opens"]
    assert [fact.slot_fenced.through for fact in pool.facts() if fact.slot_fenced] == [1]
    successor = opening(pool, "successor")
    assert successor.done_through == 1
    pool.put(pool.an_assign(SLOT, 2, job := a_job()))
    successor.start_reading()
    first = None
    while first is None:
        first = successor.poll(1.0)
    assert job.job_id.encode() in (first.value() or b"")
    for log in (frozen, successor):
        log.close()
