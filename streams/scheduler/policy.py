"""Which waiting job a free slot gets: behind one interface, so that policies can be exchanged."""

from __future__ import annotations

import heapq
from datetime import datetime
from typing import Final, Protocol

from schemas.job import PRIORITIES
from schemas.records import JobState

_RANK: Final = {priority: rank for rank, priority in enumerate(PRIORITIES)}


class Policy(Protocol):
    """An index over the waiting jobs. Deterministic: the same calls give the same choices."""

    def add(self, job: JobState) -> None:
        """``job`` waits from now on."""

    def discard(self, job_id: str) -> None:
        """The job no longer waits."""

    def choose(self, slot: int, now: datetime, *, only_slot: bool) -> str | None:
        """The job that ``slot`` should get at ``now``, or None. Removes nothing.

        Args:
            slot: Number of the free slot.
            now: Broker time.
            only_slot: No other slot is open, so a job may return where it failed.
        """


class PriorityThenArrival:
    """The highest priority first; inside a priority, who came first."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobState] = {}
        self._ready: list[tuple[int, int, str]] = []
        self._later: list[tuple[datetime, str]] = []

    def add(self, job: JobState) -> None:
        """See :class:`Policy`."""
        job_id = job.job.job_id
        self._jobs[job_id] = job
        if job.not_before is None:
            heapq.heappush(self._ready, self._entry(job))
        else:
            heapq.heappush(self._later, (job.not_before, job_id))

    def discard(self, job_id: str) -> None:
        """See :class:`Policy`. Heap entries go lazily, when they surface."""
        self._jobs.pop(job_id, None)

    def choose(self, slot: int, now: datetime, *, only_slot: bool) -> str | None:
        """See :class:`Policy`."""
        self._ripen(now)
        passed_over: list[tuple[int, int, str]] = []
        chosen: str | None = None
        while self._ready and chosen is None:
            entry = self._ready[0]
            job = self._jobs.get(entry[2])
            if job is None or self._entry(job) != entry or not _ripe(job, now):
                heapq.heappop(self._ready)  # left from an earlier wait of the job
            elif job.avoid_slot == slot and not only_slot:
                passed_over.append(heapq.heappop(self._ready))
            else:
                chosen = entry[2]
        for entry in passed_over:
            heapq.heappush(self._ready, entry)
        return chosen

    def _ripen(self, now: datetime) -> None:
        while self._later and self._later[0][0] <= now:
            when, job_id = heapq.heappop(self._later)
            job = self._jobs.get(job_id)
            if job is not None and job.not_before == when:
                heapq.heappush(self._ready, self._entry(job))

    @staticmethod
    def _entry(job: JobState) -> tuple[int, int, str]:
        return _RANK.get(job.job.priority, len(_RANK)), job.arrival, job.job.job_id


def _ripe(job: JobState, now: datetime) -> bool:
    return job.not_before is None or job.not_before <= now
