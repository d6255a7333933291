"""Fold time: the broker's clock made fit for decisions. Pure.

``now`` never goes back and never stands still. While it is ahead, because the broker's clock went
back, it runs at half that clock's speed until they meet again (slewing, as in RFC 5905). A leap
ahead is time like any other, for the log may have been silent; but deadlines and ends of memory,
which cannot be taken back, wait a little to see whether the clock stays there.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.records import Cursor

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def in_ms(at: datetime) -> int:
    """A time as whole milliseconds since the epoch."""
    return (at - _EPOCH) // _MS


def wall(cursor: Cursor) -> datetime:
    """The broker's time as it last said it: what others' deadlines are compared with."""
    return cursor.at if cursor.at is not None else cursor.now


def settled(cursor: Cursor) -> bool:
    """Whether deadlines may be judged: the clock has not just leapt ahead."""
    return cursor.unsettled_until is None


def advanced(cursor: Cursor, offset: int, at: datetime, leap: timedelta) -> Cursor:
    """The cursor once the fact at ``offset`` is folded.

    Args:
        cursor: The cursor before it.
        offset: Its inbox offset.
        at: Its broker time, in whole milliseconds.
        leap: An advance of more than this between two facts is a leap of the clock or a silence
            of the log; so long the clock must stay there before deadlines are judged.
    """
    before = wall(cursor)
    passed = at - before
    leapt = passed > leap and cursor.offset > 0
    until = cursor.unsettled_until
    if leapt:
        until = at + leap
    elif until is not None and not until - 2 * leap <= at < until:  # stayed, or went back again
        until = None
    return cursor.model_copy(
        update={
            "offset": offset + 1,
            "at": at,
            "now": max(at, cursor.now + _half(before, min(at, before + leap))),
            "unsettled_until": until,
        }
    )


def _half(start: datetime, end: datetime) -> timedelta:
    """Half the way from ``start`` to ``end``: whole milliseconds whose sums do not drift."""
    return max(in_ms(end) // 2 - in_ms(start) // 2, 0) * _MS
