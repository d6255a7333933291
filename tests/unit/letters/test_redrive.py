"""What a dead letter becomes: one job, whoever redrives it and however often."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.letters.redrive import (
    UNREAD,
    NotRedrivableError,
    content_type,
    letter_id,
    redrive,
    redriven_job_id,
)
from schemas.errors import UnknownSchema
from schemas.job import spec_of
from schemas.records import CancelRequested, JobRequested, PoolFact, Reason, Refusal
from schemas.topics import Topics
from tests.unit.letters.letters import NOW, PARENT, admitted, letter, request

TOPICS = Topics("t.")


def test_a_failed_job_becomes_a_new_one_of_the_same_picture_with_its_parent() -> None:
    made = redrive(letter(), admitted(), TOPICS, NOW)
    assert made.topic == "t.jobs.requested.high"
    assert made.key == b"acme"
    asked = made.record
    assert asked is not None
    assert asked.job_id == made.job_id == redriven_job_id(letter_id(letter()))
    assert asked.job_id != PARENT
    assert asked.parent_job_id == PARENT
    assert (asked.seed, asked.prompt, asked.width) == (7, "a fox", 848)
    assert (asked.pool, asked.retention_s) == ("mochi-1", 3600)
    assert asked.webhook_url == "https://example.com/hook"
    assert asked.metadata == {"order": "42"}
    assert made.traceparent is not None
    assert made.notes == ()
    old = admitted().admitted
    assert old is not None
    assert spec_of(asked, asked.job_id or "") == old.spec


def test_the_same_failure_told_twice_is_one_letter_and_one_job() -> None:
    told_again = letter(occurred_at=NOW + timedelta(minutes=1), attempts=6, reason="again")
    assert letter_id(told_again) == letter_id(letter())
    assert redrive(told_again, admitted(), TOPICS, NOW) == redrive(
        letter(), admitted(), TOPICS, NOW
    )


@pytest.mark.parametrize(
    "other",
    [
        {"topic": "t.pool.other.inbox"},
        {"partition": 1},
        {"offset": 42},
        {"code": "out_of_memory"},
        {"value": b"another fact"},
        {"value": b""},
        {"value": None},
    ],
)
def test_another_record_or_another_failure_is_another_letter(other: dict[str, Any]) -> None:
    assert letter_id(letter(**other)) != letter_id(letter())


def test_no_value_and_an_empty_one_differ() -> None:
    assert letter_id(letter(value=None)) != letter_id(letter(value=b""))


@given(offsets=st.lists(st.integers(0, 2**40), min_size=2, max_size=30, unique=True))
def test_ids_are_uuids_and_never_meet(offsets: list[int]) -> None:
    names = [letter_id(letter(offset=offset)) for offset in offsets]
    jobs = [redriven_job_id(name) for name in names]
    assert len({*names, *jobs}) == 2 * len(offsets)
    assert all(str(uuid.UUID(name)) == name for name in [*names, *jobs])


def test_an_expiry_that_has_passed_is_dropped_and_said() -> None:
    late = admitted(expires_at=NOW - timedelta(seconds=1))
    made = redrive(letter(), late, TOPICS, NOW)
    assert made.record is not None
    assert made.record.expires_at is None
    assert "expires_at" in made.notes[0]
    later = admitted(expires_at=NOW + timedelta(hours=1))
    kept = redrive(letter(), later, TOPICS, NOW).record
    assert kept is not None
    assert kept.expires_at == NOW + timedelta(hours=1)


def test_a_request_over_its_rate_becomes_a_new_job_of_its_own_priority() -> None:
    of = letter(topic="t.jobs.requested.low", code="rate_limited")
    made = redrive(of, request(job_id=PARENT), TOPICS, NOW)
    assert made.topic == "t.jobs.requested.low"
    assert made.record is not None
    assert made.record.parent_job_id == PARENT
    assert made.record.job_id == redriven_job_id(letter_id(of))


def test_the_job_id_that_admission_derived_is_the_parent() -> None:
    of = letter(topic="t.jobs.requested.low", code="rate_limited")
    made = redrive(of, request(), TOPICS, NOW).record
    assert made is not None
    assert made.parent_job_id == PARENT


@pytest.mark.parametrize("code", sorted(UNREAD))
def test_what_can_be_read_now_goes_as_it_was_to_where_it_lay(code: str) -> None:
    of = letter(topic="t.jobs.requested.normal", code=code, value=b"bytes", job_id=None)
    made = redrive(of, request(job_id=PARENT), TOPICS, NOW)
    assert (made.topic, made.original, made.record) == (of.topic, b"bytes", None)
    assert made.job_id == PARENT  # no job was ever made under it


def test_what_can_be_read_now_but_names_no_job_gets_the_letters_id() -> None:
    of = letter(topic="t.jobs.requested.normal", code="unknown_schema", job_id=None)
    made = redrive(of, request(), TOPICS, NOW)
    assert made.record is not None
    assert made.record.job_id == redriven_job_id(letter_id(of))
    assert made.record.parent_job_id is None


def test_a_wish_to_cancel_goes_as_it_was() -> None:
    of = letter(topic="t.jobs.control", code="unknown_pool", value=b"bytes")
    made = redrive(of, CancelRequested(job_id=PARENT, tenant_id="acme"), TOPICS, NOW)
    assert (made.topic, made.original, made.job_id) == (of.topic, b"bytes", None)


def test_what_still_cannot_be_read_says_why_and_what_to_do() -> None:
    of = letter(topic="t.jobs.requested.normal", code="unknown_schema")
    with pytest.raises(NotRedrivableError, match=r"unknown_schema.*Upgrade"):
        redrive(of, UnknownSchema("schema id 9 is not one this service ships"), TOPICS, NOW)


def test_a_request_that_breaks_rules_still_does() -> None:
    of = letter(topic="t.jobs.requested.normal", code="invalid_request")
    with pytest.raises(NotRedrivableError, match="invalid_num_frames") as refused:
        redrive(of, request(num_frames=8, prompt="a secret"), TOPICS, NOW)
    assert "secret" not in str(refused.value)


def test_a_refusal_is_told_by_its_requests_own_letter() -> None:
    refusal = Refusal(
        job_id=PARENT,
        tenant_id="acme",
        pool="mochi-1",
        priority="normal",
        spec_digest="0" * 64,
        submitted_at=NOW,
        reason=Reason(code="too_old", message="no"),
        metadata={},
    )
    fact = PoolFact(kind="Refused", refused=refusal)
    with pytest.raises(NotRedrivableError, match="refused"):
        redrive(letter(code="job_conflict"), fact, TOPICS, NOW)


@pytest.mark.parametrize(
    ("topic", "known"),
    [
        ("t.pool.mochi-1.inbox", PoolFact),
        ("t.jobs.requested.high", JobRequested),
        ("t.jobs.control", CancelRequested),
        ("t.jobs.requested.urgent", None),
        ("t.jobs.completed", None),
        ("t.pool.mochi-1.assignments", None),
        ("jobs.requested.high", None),
        ("t.jobs.requested.high\x00", None),
        ("", None),
    ],
)
def test_only_topics_that_take_requests_are_redriven(topic: str, known: type | None) -> None:
    of = letter(topic=topic)
    assert content_type(of, TOPICS) is known
    if known is None:
        with pytest.raises(NotRedrivableError, match="takes no requests"):
            redrive(of, None, TOPICS, NOW)


@pytest.mark.parametrize(
    "hostile",
    [
        {"tenant_id": "../other"},
        {"priority": "urgent"},
        {"pool": "NO SUCH POOL"},
        {"webhook_url": "javascript:alert(1)"},
        {"retention_s": -1},
        {"metadata": {"a": "x" * 10_000}},
    ],
)
def test_a_forged_job_is_judged_as_any_request(hostile: dict[str, Any]) -> None:
    with pytest.raises(NotRedrivableError):
        redrive(letter(), admitted(**hostile), TOPICS, NOW)


def test_a_forged_parent_is_no_parent() -> None:
    made = redrive(letter(), admitted(job_id="' OR 1=1"), TOPICS, NOW).record
    assert made is not None
    assert made.parent_job_id is None
