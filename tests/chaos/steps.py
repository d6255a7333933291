"""Denoising steps that were computed more than once, from what the slots said of their progress.

A start is a run of progress of one attempt on one slot. Its first word names the step it goes on
from; what earlier starts of the job had reported beyond that is computed again. Progress is best
effort: a word that was lost makes the count smaller, never larger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.records import JobProgress


@dataclass(frozen=True)
class Start:
    """One start of a job after its first.

    Attributes:
        resumed_from: Step that it went on from.
        repeated: Steps that earlier starts had reported beyond that.
    """

    job_id: str
    attempt: int
    slot: int
    resumed_from: int
    repeated: int


@dataclass
class Steps:
    """Denoising of all jobs together."""

    computed: int = 0
    starts: list[Start] = field(default_factory=list)

    @property
    def repeated(self) -> int:
        return sum(start.repeated for start in self.starts)


@dataclass
class _Job:
    furthest: int = 0
    last: dict[tuple[int, int], int] = field(default_factory=dict)


def count(progress: Iterable[JobProgress]) -> Steps:
    """Count over progress in the order in which each job's was written."""
    steps = Steps()
    jobs: dict[str, _Job] = {}
    for said in progress:
        job = jobs.setdefault(said.job_id, _Job())
        who = said.attempt, said.slot
        before = job.last.get(who)
        if before is None or said.step < before:
            if job.last:
                repeated = max(0, job.furthest - said.step)
                start = Start(said.job_id, said.attempt, said.slot, said.step, repeated)
                steps.starts.append(start)
        else:
            steps.computed += said.step - before
        job.last[who] = said.step
        job.furthest = max(job.furthest, said.step)
    return steps
