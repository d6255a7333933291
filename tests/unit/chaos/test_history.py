"""A history: every fact in order, with what it caused and what a slot announced beside it."""

from datetime import UTC, datetime
from typing import cast

from confluent_kafka import Message

from schemas.codec import Codec, Registry, single_object
from schemas.records import (
    Assignment,
    AttemptEnded,
    DeadLetter,
    JobEvent,
    PoolFact,
    Reason,
    Record,
    SlotFree,
)
from tests.chaos.history import CAUSE, announced, effects, lines

AT = datetime(2026, 11, 25, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)


class Silent:
    """Single-object encoding needs no registry."""

    def id_of(self, subject: str, text: str) -> int:
        raise AssertionError(subject, text)

    def text_of(self, schema_id: int) -> str | None:
        raise AssertionError(schema_id)


CODEC = Codec(cast("Registry", Silent()))


def message(
    record: Record, offset: int = 0, partition: int = 0, cause: int | None = None
) -> Message:
    headers: list[tuple[str, str | bytes | None]] = []
    if cause is not None:
        headers = [("traceparent", b"x"), (CAUSE, str(cause).encode())]
    return Message(
        topic="topic",
        partition=partition,
        offset=offset,
        value=single_object(record),
        headers=headers,
        timestamp=(2, AT_MS),
    )


def event(kind: str, attempt: int = 1) -> JobEvent:
    return JobEvent(
        kind=kind,
        event_id="e",
        job_id="job",
        tenant_id="t",
        pool="p",
        priority="normal",
        status="pending",
        occurred_at=AT,
        submitted_at=AT,
        attempt=attempt,
        metadata={},
    )


def test_what_the_scheduler_did_is_found_by_its_cause() -> None:
    order = Assignment(kind="Assign", n=4, job_id="job", attempt=1, pool_incarnation="i")
    letter = DeadLetter(
        topic="inbox",
        partition=0,
        offset=7,
        error_class="permanent",
        code="render_crashed",
        reason="It crashed.",
        attempts=5,
        job_id="job",
        occurred_at=AT,
    )
    caused = effects(
        CODEC,
        [message(event("Scheduled"), cause=6), message(event("Completed"))],
        [message(order, partition=2, cause=6)],
        [message(letter, cause=7), message(letter)],
    )
    about = {"job_id": "job", "attempt": 1}
    assert caused == {
        6: [
            {"kind": "Assign", "slot": 2, "n": 4, **about},
            {"kind": "event", "event": "Scheduled", **about},
        ],
        7: [{"kind": "letter", "job_id": "job", "code": "render_crashed"}],
    }


def test_an_end_that_a_slot_announced_stands_beside_its_fact() -> None:
    events = [message(event("Completed", 2)), message(event("Cancelled", 3), cause=1)]
    ended = AttemptEnded(
        slot=1,
        incarnation="i",
        n=4,
        job_id="job",
        attempt=2,
        outcome="completed",
        reason=Reason(code="why", message="m"),
    )
    free = SlotFree(slot=1, incarnation="i", done_through=4, accept_through=5)
    inbox = [
        message(PoolFact(kind="AttemptEnded", attempt_ended=ended), offset=10),
        message(PoolFact(kind="SlotFree", slot_free=free), offset=11),
        message(PoolFact(kind="Tick"), offset=13),
    ]
    found = list(lines(CODEC, inbox, {11: [{"kind": "letter"}]}, announced(CODEC, events)))
    assert [line["offset"] for line in found] == [10, 11, 13]
    assert {line["at_ms"] for line in found} == {AT_MS}
    first, second, third = found
    assert (first["kind"], first["slot"], first["n"], first["attempt"]) == ("AttemptEnded", 1, 4, 2)
    assert (first["outcome"], first["code"]) == ("completed", "why")
    assert first["slot_events"] == [{"event": "Completed", "job_id": "job", "attempt": 2}]
    assert (second["done_through"], second["accept_through"]) == (4, 5)
    assert (second["caused"], second["slot_events"]) == ([{"kind": "letter"}], [])
    assert (third["kind"], third["slot"], third["caused"]) == ("Tick", None, [])
