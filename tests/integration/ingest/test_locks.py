"""A session lock: one holder, which must be heard from."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.db import engine, hold_lock
from tests.integration.ingest.edge_stack import EdgeStack

pytestmark = pytest.mark.stack

LOCK = 99
SILENCE = 2.0


async def use(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT 1"))
    await connection.commit()


def test_a_holder_that_is_heard_from_keeps_the_lock(edge: EdgeStack) -> None:
    async def run() -> None:
        database = engine(edge.settings, 2)
        async with database.connect() as holder, database.connect() as other:
            await hold_lock(holder, LOCK, SILENCE)
            waiting = asyncio.create_task(hold_lock(other, LOCK, SILENCE))
            for _ in range(8):
                await use(holder)
                await asyncio.sleep(SILENCE / 4)
            assert not waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await database.dispose()

    asyncio.run(run())


def test_a_silent_holder_loses_it_and_can_commit_nothing(edge: EdgeStack) -> None:
    async def run() -> None:
        database = engine(edge.settings, 2)
        async with database.connect() as frozen, database.connect() as other:
            await hold_lock(frozen, LOCK, SILENCE)
            async with asyncio.timeout(10 * SILENCE):
                await hold_lock(other, LOCK, SILENCE)
            with pytest.raises(DBAPIError):
                await use(frozen)
            await frozen.invalidate()
        await database.dispose()

    asyncio.run(run())
