from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.identity.caller import Identity
from ingest.live.catch_up import of_job
from ingest.live.hub import BEAT_SECONDS, Hub, TooManyStreams
from ingest.live.mailbox import MAX_FRAMES, Mailbox
from ingest.live.position import Position, Seal

SEAL = Seal(bytes(32))
ANN = Identity(uuid.uuid4(), "ann", "viewer", "key:ann")
BOB = Identity(uuid.uuid4(), "bob", "viewer", "key:bob")
JOB, OTHER = uuid.uuid4(), uuid.uuid4()


def hub(per_tenant: int = 10, per_process: int = 20) -> Hub:
    made = Hub(per_tenant, per_process)
    made.begin(SEAL)
    return made


def row(offset: int, kind: str = "Started", **fields: Any) -> dict[str, Any]:
    return {
        "partition": 0,
        "offset": offset,
        "job_id": JOB,
        "tenant_id": "ann",
        "event_id": f"e{offset}",
        "kind": kind,
        "status": "processing",
        "attempt": 1,
        "slot": 0,
        "reason": None,
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    }


def report(step: int, **fields: Any) -> dict[str, Any]:
    shown = {"phase": "denoising", "step": step, "total": 64, "eta_s": 1.0}
    return {"job_id": JOB, "tenant_id": "ann", "attempt": 1, "progress": shown, **fields}


def parsed(stream: bytes) -> list[dict[str, str]]:
    """The events of a stream, fields by name."""
    blocks = [b for b in stream.decode().split("\n\n") if b and not b.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


async def taken(box: Mailbox) -> list[dict[str, str]]:
    async with asyncio.timeout(5):
        return parsed(await box.take())


async def events(box: Mailbox) -> list[str]:
    return [json.loads(event["data"])["id"] for event in await taken(box)]


async def test_an_event_goes_to_its_job_and_its_tenant_and_to_nobody_else() -> None:
    of = hub()
    mine, all_mine = of.join(ANN, JOB, Position()), of.join(ANN, None, Position())
    others = [of.join(ANN, OTHER, Position()), of.join(BOB, None, Position())]
    stranger = of.join(BOB, JOB, Position())
    of.happened([row(1)])
    assert await events(mine) == ["e1"]
    assert await events(all_mine) == ["e1"]
    assert not any(box._frames for box in [*others, stranger])


async def test_an_id_covers_all_that_was_handed_out_so_far() -> None:
    of = hub()
    box = of.join(ANN, None, Position())
    of.happened([row(4, partition=2), row(9, job_id=OTHER, tenant_id="bob"), row(10)])
    ids = [event["id"] for event in await taken(box)]
    assert SEAL.decode("ann", ids[0]).seen == {2: 4}
    assert SEAL.decode("ann", ids[1]).seen == {2: 4, 0: 10}


async def test_who_was_ahead_on_another_replica_gets_nothing_twice() -> None:
    of = hub()
    of.position = {0: 3}
    box = of.join(ANN, None, Position({0: 5}))
    of.happened([row(n) for n in (4, 5, 6)])
    assert await events(box) == ["e6"]


async def test_a_jobs_stream_ends_with_its_last_event_and_its_tenants_goes_on() -> None:
    of = hub()
    mine, all_mine = of.join(ANN, JOB, Position()), of.join(ANN, None, Position())
    of.happened([row(1, "Completed"), row(2)])
    assert await events(mine) == ["e1"]
    assert mine.end == "terminal"
    assert await mine.take() == b""
    assert await events(all_mine) == ["e1", "e2"]
    assert all_mine.end is None


async def test_progress_is_told_once_and_a_jobs_own_stream_can_go_on_from_it() -> None:
    of = hub()
    mine, all_mine = of.join(ANN, JOB, Position()), of.join(ANN, None, Position())
    of.progressed([report(1)])
    of.progressed([report(1)])
    of.progressed([report(2)])
    told = await taken(mine)
    assert [json.loads(event["data"])["step"] for event in told] == [1, 2]
    assert [json.loads(event["data"])["step"] for event in await taken(all_mine)] == [1, 2]
    again = of.join(ANN, JOB, SEAL.decode("ann", told[-1]["id"]))
    missed = of.join(ANN, JOB, SEAL.decode("ann", told[0]["id"]))
    of.progressed([report(2)])
    assert not again._frames
    assert [json.loads(event["data"])["step"] for event in await taken(missed)] == [2]


async def test_a_full_mailbox_is_cut_off_and_does_not_grow() -> None:
    of = hub()
    box, quick = of.join(ANN, None, Position()), of.join(ANN, JOB, Position())
    for n in range(MAX_FRAMES + 5):
        of.happened([row(n)])
        await quick.take()
    assert (box.end, len(box._frames)) == ("slow", 0)
    assert await box.take() == b""
    assert quick.end is None


async def test_limits_count_what_is_open_and_leaving_frees_a_place() -> None:
    of = hub(per_tenant=2, per_process=3)
    first = of.join(ANN, None, Position())
    of.join(ANN, JOB, Position())
    with pytest.raises(TooManyStreams):
        of.join(ANN, JOB, Position())
    of.join(BOB, None, Position())
    with pytest.raises(TooManyStreams):
        of.join(Identity(uuid.uuid4(), "eve", "viewer", "key:eve"), None, Position())
    for _ in range(2):
        of.leave(first)
    assert len(of) == 2
    of.join(ANN, JOB, Position())


async def test_nothing_is_kept_of_streams_that_left() -> None:
    of = hub()
    empty = {name: len(value) for name, value in vars(of).items() if isinstance(value, dict)}
    boxes = [of.join(who, job, Position()) for who in (ANN, BOB) for job in (JOB, None)]
    for box in boxes:
        of.leave(box)
    assert {n: len(v) for n, v in vars(of).items() if isinstance(v, dict)} == empty
    assert len(of) == 0


async def test_a_revoked_callers_streams_end_with_nothing_more_sent() -> None:
    of = hub()
    hers, his = of.join(ANN, None, Position()), of.join(BOB, None, Position())
    of.happened([row(1)])
    of.revoke({ANN})
    assert (hers.end, await hers.take()) == ("revoked", b"")
    assert his.end is None


async def test_a_stop_ends_what_is_open_and_what_comes_later() -> None:
    of = hub()
    before = of.join(ANN, None, Position())
    waiting = asyncio.create_task(before.take())
    await asyncio.sleep(0)
    of.close()
    async with asyncio.timeout(5):
        assert await waiting == b""
        assert await of.join(ANN, None, Position()).take() == b""


async def test_only_idle_streams_get_a_beat() -> None:
    of = hub()
    idle, busy = of.join(ANN, None, Position()), of.join(ANN, JOB, Position())
    for box in (idle, busy):
        box.put(b"x")
        await box.take()
    now = asyncio.get_running_loop().time()
    of.beat(now + BEAT_SECONDS / 2)
    assert not idle._frames
    busy._taken_at = now + BEAT_SECONDS / 2
    of.beat(now + BEAT_SECONDS + 1)
    assert (list(idle._frames), list(busy._frames)) == ([b": beat\n\n"], [])


@pytest.mark.parametrize(
    ("since", "through", "sent", "ended"),
    [
        ({}, {0: 3}, ["e1", "e2", "e3"], True),
        ({0: 1}, {0: 3}, ["e2", "e3"], True),
        ({0: 3}, {0: 3}, [], True),
        # What the hub has not handed out yet comes live.
        ({}, {0: 2}, ["e1", "e2"], False),
        # The client had the end from a replica that is ahead of this one.
        ({0: 3}, {0: 2}, [], True),
        ({}, {}, [], False),
    ],
)
def test_a_job_is_caught_up_with_from_where_its_client_is(
    since: dict[int, int], through: dict[int, int], sent: Sequence[str], *, ended: bool
) -> None:
    rows = [row(1, "Admitted"), row(2), row(2, tenant_id="bob"), row(3, "Completed")]
    frames, over = of_job(SEAL, "ann", rows, Position(since), through)
    assert [json.loads(event["data"])["id"] for event in parsed(frames)] == list(sent)
    assert over == ended
    if sent:
        last = SEAL.decode("ann", parsed(frames)[-1]["id"]).seen
        assert last == {0: int(sent[-1][1:])}


async def test_a_kind_that_could_break_a_line_is_only_named_in_the_data() -> None:
    of = hub()
    box = of.join(ANN, JOB, Position())
    of.happened([row(1, "a\nevent: b")])
    event = (await taken(box))[0]
    assert event["event"] == "other"
    assert json.loads(event["data"])["kind"] == "a\nevent: b"
