"""When a checkpoint is worth its cost. Pure: the clock's readings are arguments.

After Young (1974), "A first order approximation to the optimum checkpoint interval": where a
checkpoint costs C seconds and a failure comes every M seconds on average, sqrt(2 C M) between
checkpoints loses the least. What Daly (2006) adds matters only where C is not far below M.
"""

from __future__ import annotations

import math
from typing import Final

#: The most of the time that may be spent on writing checkpoints.
SHARE: Final = 0.003
#: Seconds a write is taken to last before the first has been timed.
FIRST_GUESS: Final = 0.05
#: Weight of the newest write in the running mean.
NEWEST: Final = 0.3


def interval(write_seconds: float, mtbf: float) -> float:
    """Seconds from one checkpoint to the next.

    Args:
        write_seconds: what one takes to write, until it is durable.
        mtbf: mean seconds between failures that lose what was not written.
    """
    return max(math.sqrt(2 * write_seconds * mtbf), write_seconds / SHARE)


class Cadence:
    """Says after which denoising steps of one job a checkpoint is due.

    It can only be asked between steps, so the shortest interval is one step.
    """

    def __init__(
        self,
        *,
        every_steps: int | None,
        mtbf: float,
        step: int,
        now: float,
        write_seconds: float = FIRST_GUESS,
    ) -> None:
        """Starts at ``step`` steps done, which are durable or nothing.

        Args:
            every_steps: this many steps apart, whatever they cost; None: as ``interval`` says.
            mtbf: mean seconds between failures.
            step: steps done at ``now``.
            now: seconds, of any clock that does not go back.
            write_seconds: what a checkpoint took to write so far.
        """
        self._every, self._mtbf = every_steps, mtbf
        self._step, self._since = step, now
        self.write_seconds = write_seconds

    def due(self, step: int, now: float) -> bool:
        """Whether the state after ``step`` steps should be written."""
        if step <= self._step:
            return False
        if self._every is not None:
            return step - self._step >= self._every
        return now - self._since >= interval(self.write_seconds, self._mtbf)

    def taken(self, step: int, now: float) -> None:
        """The state after ``step`` steps is being written, or was tried to."""
        self._step, self._since = step, now

    def wrote(self, seconds: float) -> None:
        """A write has taken ``seconds``."""
        self.write_seconds += NEWEST * (seconds - self.write_seconds)
