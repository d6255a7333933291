"""When a failed delivery is tried again. Pure."""

from __future__ import annotations

import email.utils
import math
from datetime import UTC, datetime
from typing import Final

#: Seconds after the first, second, ... failed attempt: 5 s, 30 s, 2, 10 and 30 min, 1, 2, 4 and
#: 8 h, and then every 12 h; 3 days and 4 hours in all.
SCHEDULE: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, *(43_200,) * 5)
#: A receiver may ask for so many seconds of peace, and no more.
MOST_ASKED: Final = 43_200.0
_JITTER: Final = 0.25


def delay(attempts: int, jitter: float, asked: float | None = None) -> float | None:
    """Seconds until the next attempt.

    Args:
        attempts: How many have failed, from 1.
        jitter: A random number in [0, 1).
        asked: Seconds that the receiver asked to be left alone for.

    Returns:
        The delay, spread by a quarter to either side, and no sooner than the receiver asked (up to
        ``MOST_ASKED``); None when it is not tried again.
    """
    if attempts > len(SCHEDULE):
        return None
    spread = SCHEDULE[attempts - 1] * (1 - _JITTER + 2 * _JITTER * jitter)
    return max(spread, min(asked or 0.0, MOST_ASKED))


def retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3), from 0.

    Returns:
        None when there is no header, or it says nothing that can be read.
    """
    if value is None:
        return None
    text = value[:64].strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text), 10**9))
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, math.ceil((moment - now).total_seconds()))
