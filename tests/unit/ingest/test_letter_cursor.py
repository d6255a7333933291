import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import cursor, letter_cursor
from ingest.cursor import InvalidCursor

AT = datetime(2026, 11, 25, 12, 0, 0, 123_000, tzinfo=UTC)
LETTER = "0b6f7a52-3f0e-5d4e-9a63-8b7a3f6f2a10"


@given(st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)), st.integers(0, 2**63 - 1))  # noqa: DTZ001
def test_a_place_comes_back_as_it_was(at: datetime, offset: int) -> None:
    place = at.replace(tzinfo=UTC), offset, LETTER
    assert letter_cursor.decode(letter_cursor.encode(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        letter_cursor.encode((AT, 1, LETTER))[:-1],
        letter_cursor.encode((AT, 1, LETTER)) + "A",
        cursor.encode(cursor.Position(AT, uuid.UUID(LETTER)), "jobs"),
    ],
)
def test_what_this_service_did_not_make_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidCursor):
        letter_cursor.decode(text)
