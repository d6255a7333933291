"""Where each feed goes on reading: moved in the transaction that holds what was read."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.tables import feed_offsets


async def read(connection: AsyncConnection, feed: str, topic: str) -> dict[int, int]:
    """The next offset of every partition that the feed has read from."""
    found = await connection.execute(
        select(feed_offsets.c.partition, feed_offsets.c.next_offset).where(
            feed_offsets.c.feed == feed, feed_offsets.c.topic == topic
        )
    )
    return {row.partition: row.next_offset for row in found}


async def write(
    connection: AsyncConnection, feed: str, topic: str, following: Mapping[int, int]
) -> None:
    """Set the next offset of each partition in ``following``."""
    rows = [
        {"feed": feed, "topic": topic, "partition": partition, "next_offset": offset}
        for partition, offset in sorted(following.items())
    ]
    statement = insert(feed_offsets)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["feed", "topic", "partition"],
            set_={"next_offset": statement.excluded.next_offset},
        ),
        rows,
    )
