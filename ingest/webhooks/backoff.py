"""When a failed delivery is tried again. Pure."""

from __future__ import annotations

from typing import Final

#: Seconds after the first, second, ... failed attempt; about 17 hours in all.
SCHEDULE: Final = (2, 10, 60, 300, 1200, 3600, 7200, 14_400, 36_000)
_JITTER: Final = 0.25


def delay(attempts: int, jitter: float) -> float | None:
    """Seconds until the next attempt.

    Args:
        attempts: How many have failed, from 1.
        jitter: A random number in [0, 1).

    Returns:
        The delay, spread by a quarter to either side; None when it is not tried again.
    """
    if attempts > len(SCHEDULE):
        return None
    return SCHEDULE[attempts - 1] * (1 - _JITTER + 2 * _JITTER * jitter)
