from __future__ import annotations

import asyncio

import pytest

from ingest.overload.shared import Shared


async def test_all_who_ask_at_once_get_one_answer_and_later_ones_a_new_one() -> None:
    asked, now, go = 0, 0.0, asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await go.wait()
        return asked

    shared = Shared(ask, 1.0, lambda: now)
    waiting = [asyncio.create_task(shared()) for _ in range(50)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*waiting) == [1] * 50
    now = 0.9
    assert await shared() == 1
    now = 1.0
    assert await shared() == 2


async def test_a_question_that_failed_or_was_given_up_is_asked_again() -> None:
    outcomes: list[object] = [OSError(), asyncio.CancelledError(), "ok"]

    async def ask() -> object:
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    shared = Shared(ask, 1.0)
    with pytest.raises(OSError):  # noqa: PT011 the one above
        await shared()
    with pytest.raises(asyncio.CancelledError):
        await shared()
    assert await shared() == "ok"
