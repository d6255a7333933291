"""Commands as records: where they go, and what they were caused by."""

from schemas.codec import Codec
from schemas.records import DeadLetter, JobEvent, PoolFact
from schemas.topics import Topics
from streams.scheduler.commands import Emit
from streams.scheduler.outbox import CAUSE, Outbox
from streams.scheduler.source import Source
from tests.unit.scheduler.pool import Pool, a_job

TOPICS = Topics("t.")


class Everything:
    """A registry that has every shipped schema, numbered by its record's name."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}

    def id_of(self, subject: str, text: str) -> int:
        del subject
        number = len(self.texts) + 1
        self.texts[number] = text
        return number

    def text_of(self, schema_id: int) -> str | None:
        return self.texts.get(schema_id)


CODEC = Codec(Everything())


def test_every_record_names_the_fact_that_caused_it() -> None:
    pool = Pool()
    outbox = Outbox(CODEC, TOPICS, "mochi-1")
    pool.open(0)
    pool.admit(a_job(1))
    pool.end(0, 1, 1, "failed", "invalid_spec")
    pool.tick()
    again = Pool()
    told: list[tuple[str, tuple[str, bytes], int]] = []
    for fact, offset, at in pool.log:
        source = Source(CODEC.encode(TOPICS.inbox("mochi-1"), fact), offset, at)
        for command in again.fold.step(fact, offset, at):
            records = outbox.records(command, source)
            told.extend((record.topic, record.headers[-1], offset) for record in records)
    assert {topic for topic, _, _ in told} == {
        TOPICS.events,
        TOPICS.completed,
        TOPICS.assignments("mochi-1"),
        TOPICS.dlq,
        TOPICS.outlook("mochi-1"),
    }
    assert all(header == (CAUSE, str(offset).encode()) for _, header, offset in told)


def test_public_events_say_what_they_are_and_internal_records_do_not() -> None:
    pool = Pool()
    pool.admit(a_job(1))
    outbox = Outbox(CODEC, TOPICS, "mochi-1")
    (command,) = [one for one in pool.cancel(1) if isinstance(one, Emit)]
    records = list(outbox.records(command, Source(b"", 9, pool.now)))
    assert [record.topic for record in records] == [TOPICS.events, TOPICS.completed]
    for record in records:
        told = CODEC.decode(JobEvent, record.value)
        headers = dict(record.headers)
        assert headers["ce_id"].decode() == told.event_id
        assert headers["ce_type"] == b"ttv.job.cancelled"


def test_a_poison_jobs_letter_carries_its_history() -> None:
    pool = Pool()
    pool.open(0)
    pool.admit(a_job(1))
    pool.render(0, 2)
    letter, _ = pool.end(0, 1, 1, "failed", "invalid_spec", steps=3)
    outbox = Outbox(CODEC, TOPICS, "mochi-1")
    (record,) = outbox.records(letter, Source(b"", 9, pool.now))
    told = CODEC.decode(DeadLetter, record.value)
    assert [(entry.code, entry.steps) for entry in told.history] == [("invalid_spec", 3)]
    assert CODEC.decode(PoolFact, told.value).admitted == a_job(1)
