"""Dead letters, read and redriven in threads of their own: Kafka's clients block.

jobs.dlq is a log, so each question reads it from a moment to its end, within a deadline. Two are
answered at a time and a few wait; the rest are refused at once, so that operators who look for
letters take nothing from those who submit jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from infra.letters.desk import Desk, Found, Letter, Outcome, Wanted
from infra.letters.shown import details, summary
from infra.settings import Settings
from schemas.codec import codec

T = TypeVar("T")

#: Questions at a time, and those that may wait for one of them.
_THREADS: Final = 2
_WAITING: Final = 8
#: Largest letter whose content is read: a request, with all that it may hold, is far smaller.
_MOST_BYTES: Final = 256 * 1024


class LettersBusy(Exception):
    """Too many questions about dead letters wait already: ask again."""


class LetterReader:
    """Answers questions about dead letters.

    What a method raises: LettersBusy, or infra.letters.log.LettersError when Kafka or the registry
    does not answer in time.
    """

    def __init__(self, settings: Settings) -> None:
        """Connects when it is asked."""
        self._desk = Desk(settings, codec(settings.registry), settings.letters_timeout)
        self._threads = ThreadPoolExecutor(_THREADS, "letters")
        self._open = 0

    async def find(self, wanted: Wanted, since: datetime, limit: int) -> Found:
        """The newest ``limit`` letters that are wanted, without what they hold."""
        return await self._aside(lambda: self._desk.find(wanted, since, limit))

    async def one(self, wanted: Wanted, since: datetime) -> Letter | None:
        """The newest letter that is wanted, with what it holds unless that is too large."""
        found = await self._aside(lambda: self._desk.find(wanted, since, 1, _MOST_BYTES))
        return found.letters[0] if found.letters else None

    async def shown(self, letter: Letter, *, with_prompt: bool) -> dict[str, Any]:
        """A letter in full: its summary, its history, what it holds, and what a redrive would do.

        Args:
            letter: From :meth:`one`.
            with_prompt: Whether prompts, which are personal data, are shown.
        """
        now = datetime.now(UTC)
        full = await self._aside(lambda: details(self._desk, letter, now, with_prompt=with_prompt))
        return summary(letter) | full

    async def redrive(self, letter: Letter) -> Outcome:
        """Have a letter tried again, as one job however often it is asked for."""
        outcomes: list[Outcome] = []
        now = datetime.now(UTC)
        await self._aside(lambda: self._desk.redrive([letter], now, outcomes.append))
        return outcomes[0]

    def close(self) -> None:
        """Take no more questions; those under way end by their own deadlines."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _aside(self, call: Callable[[], T]) -> T:
        if self._open >= _THREADS + _WAITING:
            raise LettersBusy
        self._open += 1
        asked = self._threads.submit(call)
        loop = asyncio.get_running_loop()

        def answered(_: Future[T]) -> None:
            loop.call_soon_threadsafe(self._answered)

        # Whoever asked may leave; the thread is taken until the answer is there.
        asked.add_done_callback(answered)
        return await asyncio.wrap_future(asked)

    def _answered(self) -> None:
        self._open -= 1
