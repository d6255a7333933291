from __future__ import annotations

import contextlib
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.cursor import InvalidCursor, Position, decode, encode

_times = st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 bounds of hypothesis are naive


@given(_times, st.uuids())
def test_a_cursor_gives_its_position_back(at: datetime, job_id: object) -> None:
    position = Position(at, job_id)  # type: ignore[arg-type] # hypothesis types uuids loosely
    assert decode(encode(position)) == position


@given(st.text(max_size=60))
def test_other_text_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidCursor):
        assert encode(decode(text)) == text


@pytest.mark.parametrize("flip", range(34))
def test_one_changed_character_never_breaks_it(flip: int) -> None:
    text = encode(Position(datetime(2026, 1, 1, tzinfo=UTC), uuid.UUID(int=7)))
    assert len(text) == 34
    for other in "A_!":
        changed = text[:flip] + other + text[flip + 1 :]
        with contextlib.suppress(InvalidCursor):
            assert encode(decode(changed)) == changed
