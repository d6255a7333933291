"""Links that were given out: whether one still works when the next is asked for."""

from __future__ import annotations

import uuid
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

#: Notes the new link, tells of the one before, and forgets a few that ended long ago.
_ISSUE: Final = text(
    """
    WITH before AS (
        SELECT valid_until > now() AS lives FROM issued_links WHERE job_id = :job_id
    ), noted AS (
        INSERT INTO issued_links (job_id, valid_until)
        VALUES (:job_id, now() + make_interval(secs => :seconds))
        ON CONFLICT (job_id) DO UPDATE SET valid_until = excluded.valid_until
    ), forgotten AS (
        DELETE FROM issued_links WHERE job_id IN (
            SELECT job_id FROM issued_links
            WHERE valid_until < now() - interval '1 hour' AND job_id <> :job_id
            LIMIT 4 FOR UPDATE SKIP LOCKED
        )
    )
    SELECT COALESCE((SELECT lives FROM before), false)
    """
)


async def issue(connection: AsyncConnection, job_id: uuid.UUID, seconds: float) -> bool:
    """Note that a link to the job's video lives ``seconds``; whether an earlier one still does."""
    given = {"job_id": job_id, "seconds": seconds}
    return bool(await connection.scalar(_ISSUE, given))
