from __future__ import annotations

import contextlib
import re
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.cursor import LENGTH, PATTERN, InvalidCursor, Position, decode, encode

_times = st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 bounds of hypothesis are naive


@given(_times, st.uuids())
def test_a_cursor_gives_its_position_back(at: datetime, job_id: object) -> None:
    position = Position(at, job_id)  # type: ignore[arg-type] # hypothesis types uuids loosely
    assert decode(encode(position, "of"), "of") == position


@given(st.text(max_size=60))
def test_other_text_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidCursor):
        assert encode(decode(text, "of"), "of") == text


@pytest.mark.parametrize("flip", range(LENGTH))
def test_one_changed_character_makes_it_no_cursor(flip: int) -> None:
    text = encode(Position(datetime(2026, 1, 1, tzinfo=UTC), uuid.UUID(int=7)), "of")
    assert len(text) == LENGTH
    assert re.fullmatch(PATTERN, text)
    for other in set("Ag_!") - {text[flip]}:
        with pytest.raises(InvalidCursor):
            decode(text[:flip] + other + text[flip + 1 :], "of")


def test_it_is_bound_to_the_list_that_it_was_given_for() -> None:
    text = encode(Position(datetime(2026, 1, 1, tzinfo=UTC), uuid.UUID(int=7)), "one list")
    with pytest.raises(InvalidCursor):
        decode(text, "another list")
