"""What the scheduler cannot read stops it: nothing is skipped, and nothing before it is lost."""

import json
from typing import Any

import pytest

from infra.kafka import Outgoing
from tests.integration.scheduler.pool_bus import PoolBus, a_job
from tests.integration.streams.bus import Running


def halted(scheduler: Running) -> dict[str, Any]:
    assert scheduler.died() == 1
    told = [line for line in scheduler.log.read_text().splitlines() if line.startswith("{")]
    lines = [json.loads(line) for line in told]
    return next(line for line in lines if line["event"] == "scheduler.halted")


@pytest.mark.parametrize(
    ("kind", "told"),
    [("garbage", "unreadable_record"), ("null", "unreadable_record"), ("unknown kind", None)],
)
def test_a_record_that_cannot_be_read_halts_the_pool(
    pool: PoolBus, kind: str, told: str | None
) -> None:
    value = {
        "garbage": b"not a fact",
        "null": None,
        "unknown kind": pool.fact("JobTeleported").value,
    }[kind]
    before, behind = a_job(), a_job()
    pool.admit(before)
    pool.put(Outgoing(pool.inbox, value, partition=0))
    pool.admit(behind)
    for _ in range(2 if kind == "garbage" else 1):  # a restart does not get past it either
        with pool.run("streams.scheduler") as scheduler:
            line = halted(scheduler)
            assert line.get("code") == told
            assert line["level"] == "error"
    assert pool.folded() == 1
    assert [event.job_id for event in pool.events()] == [before.job_id]
