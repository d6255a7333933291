"""What every bucket store does, in memory and in Valkey."""

from __future__ import annotations

import asyncio

import pytest

from ingest.limiter.rules import Quota
from ingest.limiter.store import BucketStore
from ingest.limiter.valkey import ValkeyStore

#: Slow enough to refill nothing while a test runs.
SLOW = Quota(3, 3600)


async def test_a_quota_may_be_used_at_once_and_no_more(store: BucketStore) -> None:
    taken = [await store.take("a", SLOW) for _ in range(5)]
    assert [one.limited for one in taken] == [False, False, False, True, True]
    assert [one.remaining for one in taken] == [2, 1, 0, 0, 0]


async def test_a_refusal_says_when_the_next_is_let_through(store: BucketStore) -> None:
    for _ in range(3):
        assert (await store.take("a", SLOW)).retry_after == 0
    refused = await store.take("a", SLOW)
    assert 1190 < refused.retry_after <= 1200
    assert 3590 < refused.reset_after <= 3600


async def test_what_is_refused_is_not_counted(store: BucketStore) -> None:
    for _ in range(20):
        last = await store.take("a", SLOW)
    assert last.retry_after <= 1200


async def test_buckets_do_not_touch_each_other(store: BucketStore) -> None:
    for _ in range(4):
        await store.take("a", SLOW)
    assert not (await store.take("b", SLOW)).limited


async def test_a_bucket_fills_evenly(store: BucketStore) -> None:
    quota = Quota(20, 1)
    while not (await store.take("a", quota)).limited:
        pass
    deadline = asyncio.get_running_loop().time() + 5
    refused = await store.take("a", quota)
    while refused.limited:
        assert refused.retry_after <= 1 / 20 + 0.001
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(refused.retry_after)
        refused = await store.take("a", quota)


async def test_many_at_once_take_no_more_than_there_is(store: BucketStore) -> None:
    quota = Quota(50, 3600)
    taken = await asyncio.gather(*(store.take("a", quota) for _ in range(200)))
    assert sum(not one.limited for one in taken) == 50
    assert sorted(one.remaining for one in taken if not one.limited) == list(range(50))


async def test_a_cost_is_taken_whole_or_not_at_all(store: BucketStore) -> None:
    quota = Quota(10, 3600)
    assert not (await store.take("a", quota, 8)).limited
    assert (await store.take("a", quota, 3)).limited
    assert not (await store.take("a", quota, 2)).limited
    assert (await store.take("a", quota, 1)).limited


async def test_a_look_counts_nothing_and_sees_what_was_counted(store: BucketStore) -> None:
    for _ in range(10):
        assert not (await store.peek("a", SLOW)).limited
    for _ in range(3):
        await store.take("a", SLOW)
    seen = await store.peek("a", SLOW)
    assert seen.limited
    assert seen.remaining == 0
    assert 0 < seen.retry_after <= 1200


async def test_two_replicas_share_one_bucket_and_deployments_do_not(valkey: str) -> None:
    here, there = ValkeyStore(valkey, "shared."), ValkeyStore(valkey, "shared.")
    other = ValkeyStore(valkey, "other.")
    taken = [await store.take("a", SLOW) for store in (here, there, here, there)]
    assert [one.limited for one in taken] == [False, False, False, True]
    assert not (await other.take("a", SLOW)).limited
    for store in (here, there, other):
        await store.close()


@pytest.mark.parametrize("name", ["a", "x" * 500, "\x00\n", "é"])
async def test_any_text_is_a_key(store: BucketStore, name: str) -> None:
    assert not (await store.take(name, SLOW)).limited
    assert (await store.peek(name, SLOW)).remaining == 2
