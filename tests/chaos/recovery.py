"""How long each kind of fault takes to be over, measured from outside.

A sample that another fault disturbed before it ended is kept apart: goals are for one fault.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from schemas.records import JobEvent, JobProgress
from schemas.states import TERMINAL_KINDS
from tests.chaos.watch import Seen

#: Goals in seconds, by what is measured.
GOALS: Final = {
    "worker killed -> job resumed": 25.0,
    "scheduler killed -> folding again": 30.0,
    "broker killed -> ingest accepts": 10.0,
    "broker restarted -> ingest accepts": 10.0,
}
#: From so many samples on the 99th percentile is held against the goal, before that the maximum.
_ENOUGH: Final = 100

Ends = dict[tuple[str, int], int]


@dataclass
class Sample:
    """One measurement under way, or done.

    Attributes:
        part: Which must be well again.
    """

    what: str
    part: str
    began: float
    met: Callable[[Seen], bool]
    disturbed: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Figures:
    """What was measured of one thing."""

    samples: int
    median: float
    worst: float
    measure: str
    goal: float | None
    held: bool
    disturbed: int
    disturbed_worst: float
    unmet: int


@dataclass
class Recovery:
    """Open and finished measurements. Thread-safe."""

    samples: list[Sample] = field(default_factory=list)
    _open: list[Sample] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def await_record(self, what: str, part: str, began: float, met: Callable[[Seen], bool]) -> None:
        """Measure from ``began`` until a record of the feeds meets the condition."""
        with self._lock:
            ill = any(needs(part, other.part) for other in self._open if other.part != part)
            sample = Sample(what, part, began, met, disturbed=ill)
            self.samples.append(sample)
            self._open.append(sample)

    def await_confirmation(self, what: str, part: str, began: float) -> None:
        """Measure from ``began`` until a producer's request to Kafka is confirmed."""
        self.await_record(what, part, began, lambda seen: seen.topic == _CONFIRMED)

    def seen(self, seen: Seen) -> None:
        """A record came in."""
        with self._lock:
            for sample in [one for one in self._open if seen.at > one.began and one.met(seen)]:
                sample.seconds = seen.at - sample.began
                self._open.remove(sample)

    def confirmed(self, way: str, _sent_at: float) -> None:
        """A producer was told that its jobs are accepted."""
        if way == "kafka":
            self.seen(Seen(_CONFIRMED, 0, 0, time.monotonic(), None))

    def disturb(self, part: str) -> None:
        """A fault of ``part`` begins: what needs it cannot be blamed on one fault alone."""
        with self._lock:
            for sample in self._open:
                sample.disturbed |= needs(sample.part, part)

    def figures(self) -> dict[str, Figures]:
        """What was measured, by what."""
        with self._lock:
            names = dict.fromkeys(sample.what for sample in self.samples)
            return {name: self._figures(name) for name in names}

    def _figures(self, what: str) -> Figures:
        ours = [sample for sample in self.samples if sample.what == what]
        clean = sorted(s.seconds for s in ours if s.seconds is not None and not s.disturbed)
        other = [s.seconds for s in ours if s.seconds is not None and s.disturbed]
        measure = "p99" if len(clean) >= _ENOUGH else "max"
        judged = clean[int(len(clean) * 0.99)] if measure == "p99" else max(clean, default=0.0)
        goal = GOALS.get(what)
        return Figures(
            samples=len(clean),
            median=round(statistics.median(clean), 2) if clean else 0.0,
            worst=round(judged, 2),
            measure=measure,
            goal=goal,
            held=goal is None or judged <= goal,
            disturbed=len(other),
            disturbed_worst=round(max(other, default=0.0), 2),
            unmet=sum(sample.seconds is None for sample in ours),
        )


def needs(part: str, other: str) -> bool:
    """Whether a part cannot be well while another is not, or is that part itself."""
    servers = {"kafka"} if part == "scheduler" else {"kafka", "scheduler", "s3", "registry"}
    if part == "api":
        servers |= {"postgres", "admission"}
    return other == part or (other in servers and part != "kafka")


#: Stands for the broker's acknowledgement among the feeds.
_CONFIRMED: Final = "(confirmed)"


def goes_on(job_id: str, ends: Ends) -> Callable[[Seen], bool]:
    """The job is worked on again: progress or an end, written after the feeds' ``ends``."""

    def met(seen: Seen) -> bool:
        if seen.offset < ends.get((seen.topic, seen.partition), 0):
            return False
        match seen.record:
            case JobProgress(job_id=about):
                return about == job_id
            case JobEvent(job_id=about, kind=kind):
                return about == job_id and kind in TERMINAL_KINDS
        return False

    return met


def written(topic: str, ends: Ends, kind: str | None = None) -> Callable[[Seen], bool]:
    """Something was written to the topic after its ``ends``; an event of ``kind``, if given."""

    def met(seen: Seen) -> bool:
        if seen.topic != topic or seen.offset < ends.get((topic, seen.partition), 0):
            return False
        return kind is None or (isinstance(seen.record, JobEvent) and seen.record.kind == kind)

    return met
