"""One answer for all who ask at about the same time: what a flood of questions costs is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Asks at most once in ``seconds``; those who come meanwhile wait for that answer, or get it.

    Args:
        ask: The question; what it raises, its asker gets, and the next one asks again.
        seconds: For how long an answer is good.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._asking = asyncio.Lock()
        self._known: tuple[float, T] | None = None

    async def __call__(self) -> T:
        """The answer, not older than ``seconds``."""
        async with self._asking:
            if self._known is None or self._clock() - self._known[0] >= self._seconds:
                answer = await self._ask()
                self._known = (self._clock(), answer)
            return self._known[1]
