"""A pool's waiting jobs at one moment: who is where, and when it should start. Pure."""

from __future__ import annotations

import bisect
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from ingest.estimate import Model, Work, starts
from ingest.view import moment
from schemas.job import DEFAULTS, PRIORITIES

Row = Mapping[Any, Any]
#: Positions are counted so far; what is behind has this position and no times.
MOST: Final = 10_000
#: A running job that outlasts its estimate is taken to need so much of it still.
_LEAST_LEFT: Final = 0.05
_RANK: Final = {priority: rank for rank, priority in enumerate(PRIORITIES)}
_LAST: Final = uuid.UUID(int=2**128 - 1)


class Key(NamedTuple):
    """Where a job stands: the scheduler takes the smallest first."""

    rank: int
    at: datetime
    job_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Place:
    """A waiting job's place, and what is expected of it.

    Attributes:
        position: 1 is next; 0 has a GPU and is about to start; ``MOST`` means that or more.
        start: When it should start; None: unknown, for no slot works or too many are ahead.
        finish: When it should be done.
    """

    position: int
    start: datetime | None = None
    finish: datetime | None = None

    def json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "position": self.position,
            "expected_start_at": moment(self.start),
            "expected_finish_at": moment(self.finish),
        }


def work_of(row: Row) -> Work:
    """The work of a job, from the columns of ``jobs``; of the default video where it is unknown."""
    if row["work_steps"] is None:
        return Work(
            DEFAULTS["num_inference_steps"],
            DEFAULTS["num_frames"],
            DEFAULTS["width"] * DEFAULTS["height"],
            DEFAULTS["guidance_scale"] > 1,
        )
    return Work(row["work_steps"], row["work_frames"], row["work_pixels"], row["work_guided"])


def left(row: Row, model: Model, now: datetime) -> float:
    """Seconds until the slot of a scheduled or running job is free again.

    What the job itself reports wins over what its size says.
    """
    eta = (row["progress"] or {}).get("eta_s")
    if row["phase"] == "Started" and eta is not None:
        return max(0.0, float(eta))
    whole = model.seconds(work_of(row))
    if row["phase"] != "Started":
        return whole
    ran: timedelta = now - row["updated_at"]
    return max(_LEAST_LEFT * whole, whole - ran.total_seconds())


class Queue:
    """The queue as it was read.

    Args:
        model: Run times of this pool.
        slots: That work; 0: nothing is known of when jobs start.
        on_slots: Rows of the scheduled and running jobs.
        waiting: Rows of the first ``MOST`` waiting jobs, in order.
        now: When they were read.
    """

    def __init__(
        self,
        model: Model,
        slots: int,
        on_slots: Sequence[Row],
        waiting: Sequence[Row],
        now: datetime,
    ) -> None:
        self.model = model
        self._read_at = now
        self._keys = [Key(row["queue_rank"], row["queue_at"], row["job_id"]) for row in waiting]
        busy = sorted(left(row, model, now) for row in on_slots)[:slots]
        free_in = [*busy, *[0.0] * (slots - len(busy))]
        self._starts = starts(free_in, (model.seconds(work_of(row)) for row in waiting))

    def place(self, row: Row) -> Place | None:
        """The place of a job, from its row; None: it does not wait."""
        if row["status"] != "pending":
            return None
        work = work_of(row)
        if row["phase"] == "Scheduled":
            return self._timed(0, 0.0 if self._starts else None, work)
        return self._at(Key(row["queue_rank"], row["queue_at"], row["job_id"]), work)

    def place_of_new(self, priority: str, work: Work, now: datetime) -> Place:
        """The place that a job would have if it were submitted now."""
        return self._at(Key(_RANK[priority], now, _LAST), work)

    def _at(self, key: Key, work: Work) -> Place:
        ahead = bisect.bisect_left(self._keys, key)
        if ahead >= MOST:
            return Place(MOST)
        return self._timed(ahead + 1, self._starts[ahead] if self._starts else None, work)

    def _timed(self, position: int, start_in: float | None, work: Work) -> Place:
        if start_in is None:
            return Place(position)
        start = self._read_at + timedelta(seconds=start_in)
        return Place(position, start, start + timedelta(seconds=self.model.seconds(work)))
