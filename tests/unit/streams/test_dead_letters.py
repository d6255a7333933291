import pytest

from streams.dead_letters import labels_of, source_of
from streams.incoming import Incoming, dead_letter
from tests.unit.streams.requests import NOW, a_record


@pytest.mark.parametrize(
    ("topic", "source"),
    [
        ("ttv.jobs.requested.high", "requested"),
        ("ttv.jobs.requested.low", "requested"),
        ("ttv.jobs.control", "control"),
        ("ttv.pool.mochi-1.inbox", "inbox"),
        ("ttv.pool.mochi-1.assignments", "assignments"),
        ("other.jobs.control", "other"),
        ("ttv.jobs.dlq", "other"),
        ("x" * 10_000, "other"),
        ("", "other"),
    ],
)
def test_a_letters_source_is_one_of_a_few(topic: str, source: str) -> None:
    assert source_of(topic, "ttv.") == source


def test_what_a_letter_claims_does_not_grow_the_metrics() -> None:
    letter = dead_letter(
        a_record(topic="ttv.jobs.control"), code="made-up", error_class="odd", reason="", at=NOW
    )
    assert labels_of(letter, "ttv.") == ("control", "other", "other")


def test_a_letter_holds_the_record_whole() -> None:
    record = Incoming("t", 3, 9, b"\xff", b"\x00\x01", 5, [("a", b"1"), ("b", None)])
    letter = dead_letter(record, code="too_old", error_class="permanent", reason="r", at=NOW)
    assert (letter.topic, letter.partition, letter.offset) == ("t", 3, 9)
    assert (letter.key, letter.value) == (b"\xff", b"\x00\x01")
    assert letter.headers == {"a": b"1", "b": b""}
    assert letter.attempts == 1
