"""Dead letters read from Kafka and redriven: what is found, held, sent, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from infra.kafka import common, plain_producer
from infra.letters.desk import Desk, Letter, Outcome, Wanted
from infra.letters.log import LogError
from infra.letters.redrive import letter_id, redriven_job_id
from infra.provision import make_topics, register_schemas
from infra.settings import Settings
from schemas.codec import codec, single_object
from schemas.records import DeadLetter, JobRequested
from tests.integration.streams.bus import Bus
from tests.unit.ingest.events import happened, job
from tests.unit.letters.letters import PARENT, admitted, letter, request

pytestmark = pytest.mark.stack
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def letters(bus: Bus) -> Bus:
    """The bus with a completion feed."""
    feed = [t for t in bus.topics.declared((bus.settings.pool,), 1) if t.name.endswith("completed")]
    make_topics(bus.settings, feed)
    register_schemas(bus.settings, feed)
    return bus


@pytest.fixture
def desk(letters: Bus) -> Desk:
    return Desk(letters.settings, letters.codec)


def a_letter(bus: Bus, **fields: Any) -> DeadLetter:
    value = bus.codec.encode(bus.inbox, admitted())
    return letter(**{"topic": bus.inbox, "value": value, **fields})


def write(bus: Bus, *values: DeadLetter | bytes) -> None:
    producer = plain_producer(bus.settings)
    for value in values:
        encoded = value if isinstance(value, bytes) else bus.codec.encode(bus.topics.dlq, value)
        producer.produce(bus.topics.dlq, encoded, b"key")
    assert producer.flush(15) == 0


def abort(bus: Bus, value: DeadLetter) -> None:
    """A letter of a transaction that came to nothing."""
    producer = Producer(common(bus.settings) | {"transactional.id": f"{bus.topics.prefix}abort"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(bus.topics.dlq, bus.codec.encode(bus.topics.dlq, value), b"key")
    assert producer.flush(15) == 0
    producer.abort_transaction(30)


def redriven(desk: Desk, *chosen: Letter, now: datetime | None = None) -> list[Outcome]:
    outcomes: list[Outcome] = []
    desk.redrive(chosen, now or datetime.now(UTC), outcomes.append)
    return outcomes


def test_letters_are_found_newest_first_and_a_letter_told_twice_is_one(
    letters: Bus, desk: Desk
) -> None:
    first, second = a_letter(letters), a_letter(letters, code="out_of_memory", tenant_id="other")
    write(letters, first, b"\x00\x00", first, second)
    abort(letters, a_letter(letters, offset=99))
    found = desk.find(Wanted(), SINCE, 10)
    assert [one.id for one in found.letters] == [letter_id(second), letter_id(first)]
    assert [one.times for one in found.letters] == [1, 2]
    assert found.unreadable == 1
    assert found.letters[0].letter.value is None
    assert found.letters[0].size == len(second.value or b"")

    newest = desk.find(Wanted(), SINCE, 1)
    assert ([one.id for one in newest.letters], newest.more) == ([letter_id(second)], 1)
    by_code = desk.find(Wanted(code="render_crashed"), SINCE, 10)
    assert [one.id for one in by_code.letters] == [letter_id(first)]
    assert desk.find(Wanted(tenant_id="nobody"), SINCE, 10).letters == []
    assert desk.find(Wanted(), datetime.now(UTC) + timedelta(hours=1), 10).letters == []


def test_a_redrive_is_one_job_until_it_has_ended_and_then_none(letters: Bus, desk: Desk) -> None:
    of = a_letter(letters)
    write(letters, of)
    found = desk.find(Wanted(), SINCE, 10, 4096).letters
    for _ in range(2):
        assert [one.action for one in redriven(desk, *found)] == ["sent"]
    high = letters.topics.requested("high")
    asked = letters.read(high, JobRequested)
    name = redriven_job_id(letter_id(of))
    assert [one.job_id for one in asked] == [name, name]
    assert asked[0] == asked[1]
    assert asked[0].parent_job_id == PARENT

    ended = happened(job(job_id=name), "Completed")[0]
    feed = letters.topics.completed
    producer = plain_producer(letters.settings)
    producer.produce(feed, letters.codec.encode(feed, ended), name.encode())
    assert producer.flush(15) == 0
    again = redriven(desk, *found)[0]
    assert (again.action, again.job_id) == ("ended", name)
    assert "Completed" in again.detail
    assert len(letters.read(high, JobRequested)) == 2


def test_what_can_be_read_after_an_upgrade_goes_byte_for_byte_to_where_it_lay(
    letters: Bus, desk: Desk
) -> None:
    value = single_object(request(job_id=PARENT))
    lay = letters.requested
    now_good = a_letter(letters, topic=lay, code="unknown_schema", value=value, job_id=None)
    still_bad = now_good.model_copy(update={"value": b"\xc3\x01no", "offset": 42})
    huge = now_good.model_copy(update={"value": b"\xc3\x01" + b"x" * 1_000_000, "offset": 43})
    write(letters, now_good, still_bad, huge)
    found = desk.find(Wanted(), SINCE, 10, 256 * 1024).letters
    told = {one.id: one for one in redriven(desk, *found)}
    assert told[letter_id(now_good)].action == "sent"
    assert told[letter_id(now_good)].job_id == PARENT
    assert told[letter_id(still_bad)].action == "refused"
    assert "Upgrade" in told[letter_id(still_bad)].detail
    assert "1000002 bytes" in told[letter_id(huge)].detail
    assert [message.value() for message in letters.messages(lay)] == [value]


def test_a_letter_that_the_feed_may_have_forgotten_is_not_redriven(
    letters: Bus, desk: Desk
) -> None:
    write(letters, a_letter(letters))
    found = desk.find(Wanted(), SINCE, 10, 4096).letters
    later = datetime.now(UTC) + timedelta(days=30)
    assert "older" in redriven(desk, *found, now=later)[0].detail
    assert letters.messages(letters.topics.requested("high")) == []


def test_a_kafka_that_does_not_answer_is_a_clear_error(letters: Bus) -> None:
    gone = Settings(kafka="127.0.0.1:1", registry=letters.settings.registry)
    with pytest.raises(LogError, match=r"127\.0\.0\.1:1"):
        Desk(gone, codec(gone.registry)).find(Wanted(), SINCE, 10)


def test_reading_ends_at_its_deadline(letters: Bus) -> None:
    write(letters, a_letter(letters))
    hasty = Desk(letters.settings, letters.codec, deadline=0.0)
    with pytest.raises(LogError, match="--since"):
        hasty.find(Wanted(), SINCE, 10)
