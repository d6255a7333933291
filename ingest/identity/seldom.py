"""Saying the same thing seldom: what a caller can cause at will must not fill the audit topic."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

_MOST: Final = 10_000


class Seldom:
    """Remembers what was said lately, in bounded memory.

    Args:
        interval: Seconds for which the same thing is not said again.
        most: Things remembered; beyond that the oldest are forgotten, and said again early.
    """

    def __init__(self, interval: float, most: int = _MOST) -> None:
        self._interval = interval
        self._most = most
        self._said: OrderedDict[Hashable, float] = OrderedDict()

    def due(self, what: Hashable, now: float) -> bool:
        """Whether to say ``what`` at ``now`` (seconds, monotonic); then it counts as said."""
        said = self._said.get(what)
        if said is not None and now - said < self._interval:
            return False
        self._said[what] = now
        self._said.move_to_end(what)
        if len(self._said) > self._most:
            self._said.popitem(last=False)
        return True
