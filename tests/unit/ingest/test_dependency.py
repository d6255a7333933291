from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ingest.overload.breaker import Breaker
from ingest.overload.bulkhead import Bulkhead, BulkheadFull
from ingest.overload.dependency import Dependency, Unavailable


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def dependency(
    clock: Callable[[], float], bulkhead: Bulkhead | None = None, deadline: float = 5.0
) -> Dependency:
    return Dependency(
        "objects",
        lambda error: isinstance(error, OSError),
        deadline,
        breaker=Breaker(failures=2, pause=2.0),
        bulkhead=bulkhead,
        clock=clock,
    )


async def fail(guarded: Dependency, error: BaseException) -> None:
    with pytest.raises(type(error)):
        async with guarded.use():
            raise error


async def test_failures_in_a_row_make_it_fail_at_once_and_one_probe_heals_it() -> None:
    clock = Clock()
    guarded = dependency(clock)
    await fail(guarded, OSError())
    await fail(guarded, OSError())
    with pytest.raises(Unavailable) as refused:
        async with guarded.use():
            pytest.fail("asked while the breaker is open")
    assert refused.value.retry_after == 2
    clock.now += 2.0
    async with guarded.use():
        with pytest.raises(Unavailable):
            async with guarded.use():
                pytest.fail("two probes")
    async with guarded.use(), guarded.use():
        pass


async def test_an_error_that_is_an_answer_does_not_open_it() -> None:
    guarded = dependency(Clock())
    for _ in range(10):
        await fail(guarded, KeyError("no such job"))
    async with guarded.use():
        pass


async def test_an_asker_that_goes_away_while_probing_leaves_the_probe_to_another() -> None:
    clock = Clock()
    guarded = dependency(clock)
    await fail(guarded, OSError())
    await fail(guarded, OSError())
    clock.now += 2.0

    async def probe() -> None:
        async with guarded.use():
            await asyncio.Event().wait()

    asking = asyncio.create_task(probe())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    async with guarded.use():
        pass


async def test_what_takes_longer_than_the_deadline_is_a_failure() -> None:
    guarded = dependency(Clock(), deadline=0.01)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with guarded.use():
                await asyncio.Event().wait()
    with pytest.raises(Unavailable):
        async with guarded.use():
            pytest.fail("asked while the breaker is open")


async def test_a_full_bulkhead_fails_at_once_and_does_not_open_the_breaker() -> None:
    guarded = dependency(Clock(), Bulkhead(slots=1, waiting=0, wait=1.0))
    async with guarded.use():
        for _ in range(5):
            with pytest.raises(Unavailable):
                async with guarded.use():
                    pytest.fail("two in a bulkhead of one")
    async with guarded.use():
        pass


async def test_a_bulkhead_bounds_users_and_waiters_and_serves_those_who_wait() -> None:
    bulkhead = Bulkhead(slots=2, waiting=3, wait=5.0)
    using, most, done = 0, 0, asyncio.Event()

    async def user() -> str:
        nonlocal using, most
        try:
            async with bulkhead.slot():
                using += 1
                most = max(most, using)
                await done.wait()
                using -= 1
        except BulkheadFull:
            return "full"
        return "served"

    users = [asyncio.create_task(user()) for _ in range(9)]
    _, waiting = await asyncio.wait(users, return_when=asyncio.FIRST_COMPLETED)
    assert len(waiting) == 5
    done.set()
    outcomes = await asyncio.gather(*users)
    assert outcomes.count("served") == 5
    assert most == 2


async def test_one_that_waits_too_long_is_turned_away_and_leaks_no_slot() -> None:
    bulkhead = Bulkhead(slots=1, waiting=5, wait=0.01)
    async with bulkhead.slot():
        with pytest.raises(BulkheadFull):
            async with bulkhead.slot():
                pytest.fail("two in a bulkhead of one")
    async with bulkhead.slot():
        pass
