from __future__ import annotations

import asyncio
import signal
import uuid
from pathlib import Path

import pytest

from ingest.db import engine
from ingest.store import audit
from schemas.records import AuditEvent
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.reading import records
from tests.support.wait import until

pytestmark = pytest.mark.stack


class TakenBack(Exception):
    """Ends a transaction."""


def note(edge: EdgeStack, subject: str, *, commit: bool = True) -> None:
    async def run() -> None:
        database = engine(edge.settings, 1)
        try:
            async with database.begin() as connection:
                await audit.note(
                    connection, "job.deleted", "key:1", "acme", subject, details={"a": "b"}
                )
                if not commit:
                    raise TakenBack
        finally:
            await database.dispose()

    if commit:
        asyncio.run(run())
    else:
        with pytest.raises(TakenBack):
            asyncio.run(run())


def told(edge: EdgeStack, *subjects: str) -> list[AuditEvent]:
    found = [r.value for r in records(edge, edge.topics.audit, AuditEvent)]
    return [event for event in found if event.subject in subjects]


def test_an_event_is_told_if_its_change_commits_and_not_otherwise(edge: EdgeStack) -> None:
    kept, dropped = str(uuid.uuid4()), str(uuid.uuid4())
    note(edge, dropped, commit=False)
    note(edge, kept)
    until(lambda: bool(told(edge, kept)))
    [event] = told(edge, kept, dropped)
    assert (event.kind, event.tenant_id, event.actor, event.outcome, event.details) == (
        "job.deleted",
        "acme",
        "key:1",
        "done",
        {"a": "b"},
    )
    until(lambda: edge.sql("SELECT 1 FROM audit_outbox") == [])


@pytest.mark.strike
def test_a_worker_that_dies_once_kafka_has_an_event_leaves_it_to_be_told_again_under_its_id(
    bare_edge: EdgeStack, tmp_path: Path
) -> None:
    subject = str(uuid.uuid4())
    once = tmp_path / "once"
    once.touch()
    note(bare_edge, subject)
    dying = bare_edge.worker({"TTV_CRASH_AT": f"audit_before_remove:{once}"})
    assert dying.ended() == -signal.SIGKILL
    # The lease would have to run out: time passes faster here.
    bare_edge.sql("UPDATE audit_outbox SET next_at = now()")
    bare_edge.worker()
    until(lambda: bare_edge.sql("SELECT 1 FROM audit_outbox") == [])
    events = told(bare_edge, subject)
    assert len(events) == 2
    assert len({event.event_id for event in events}) == 1
