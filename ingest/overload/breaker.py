"""A circuit breaker: whether a dependency is asked at all. Pure: time is an argument.

Closed: everybody asks; failures in a row open it. Open: nobody asks until a pause has passed.
Half-open: one asks, and what comes of that closes it, or opens it for twice the pause. An answer
to a question from before the last change of state says nothing about now, and changes nothing.

State pattern: Nygard, Release It!, "Circuit Breaker".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to ask once; hand it back with what came of it."""

    generation: int


class Breaker:
    """One dependency's breaker.

    Args:
        failures: So many in a row open it.
        pause: Seconds it stays open at first.
        longest_pause: Most seconds it stays open, after failed probes.
        probe_seconds: A probe that is not heard of for so long is given up.
    """

    def __init__(
        self,
        failures: int = 5,
        pause: float = 0.5,
        longest_pause: float = 5.0,
        probe_seconds: float = 10.0,
    ) -> None:
        self._limit = failures
        self._first_pause = pause
        self._longest_pause = longest_pause
        self._probe_seconds = probe_seconds
        self._failures = 0
        self._pause = pause
        self._generation = 0
        self._until: float | None = None
        self._probe_until: float | None = None

    def state(self, now: float) -> State:
        """What it is at ``now``, in seconds of any clock that does not go back."""
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half_open"

    def permit(self, now: float) -> Permit | None:
        """Leave to ask, or None: fail at once."""
        state = self.state(now)
        if state == "open":
            return None
        if state == "half_open":
            if self._probe_until is not None and now < self._probe_until:
                return None
            self._generation += 1
            self._probe_until = now + self._probe_seconds
        return Permit(self._generation)

    def retry_after(self, now: float) -> float:
        """Seconds after which asking again makes sense; 0 when it does now."""
        waits = [end - now for end in (self._until, self._probe_until) if end is not None]
        return max(0.0, *waits) if waits else 0.0

    def succeeded(self, permit: Permit) -> None:
        """The dependency answered."""
        if permit.generation != self._generation:
            return
        self._failures = 0
        if self._until is not None:
            self._generation += 1
            self._until = self._probe_until = None
            self._pause = self._first_pause

    def failed(self, permit: Permit, now: float) -> None:
        """The dependency did not answer, or answered that it cannot."""
        if permit.generation != self._generation:
            return
        if self._until is None:
            self._failures += 1
            if self._failures < self._limit:
                return
        else:
            self._pause = min(2 * self._pause, self._longest_pause)
        self._generation += 1
        self._failures = 0
        self._until, self._probe_until = now + self._pause, None

    def abandoned(self, permit: Permit) -> None:
        """It was not asked, or the asker went away: another may probe."""
        if permit.generation == self._generation:
            self._probe_until = None
