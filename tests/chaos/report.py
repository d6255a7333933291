"""What a storm shows at its end, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.checker import Verdict
from tests.chaos.plan import Fault
from tests.chaos.recovery import Figures
from tests.chaos.steps import Steps


@dataclass(frozen=True)
class Struck:
    """A fault that was done, when it began (seconds into the storm), and whether it hit work."""

    fault: Fault
    at: float
    hit: bool


@dataclass
class Report:
    """All of one storm.

    Attributes:
        problems: What else failed it: too few jobs or faults, a load that broke off.
        replayed: Facts that the model replayed.
    """

    seed: int
    verdict: Verdict
    struck: list[Struck]
    recovery: dict[str, Figures]
    steps: Steps
    seconds: float
    problems: list[str] = field(default_factory=list)
    replayed: int = 0

    @property
    def ok(self) -> bool:
        return self.verdict.clean and not self.problems

    @property
    def hits(self) -> int:
        return sum(each.hit for each in self.struck)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "seed": self.seed,
            "ok": self.ok,
            "problems": self.problems,
            **asdict(self.verdict),
            "seconds": round(self.seconds),
            "faults_done": len(self.struck),
            "faults_counted": self.hits,
            "hits": {name: list(counts) for name, counts in self.table().items()},
            "recovery": {name: asdict(figures) for name, figures in self.recovery.items()},
            "steps_computed": self.steps.computed,
            "steps_repeated": self.steps.repeated,
            "resumes": len(self.steps.starts),
            "replayed": self.replayed,
        }

    def table(self) -> dict[str, tuple[int, int]]:
        """How many faults hit, and how many were done, by part and kind; crash points apart."""
        done = Counter(_name(each.fault) for each in self.struck)
        hit = Counter(_name(each.fault) for each in self.struck if each.hit)
        return {name: (hit[name], done[name]) for name in sorted(done)}

    def text(self) -> Iterable[str]:
        """For people, line by line."""
        verdict = self.verdict
        yield f"seed {self.seed}: {'clean' if self.ok else 'FAILED'} after {self.seconds:.0f} s"
        yield f"  jobs accepted {verdict.accepted}, terminal events {verdict.terminal_events}"
        yield f"  outcomes {verdict.outcomes}"
        for name in (
            "duplicates",
            "losses",
            "bad_artifacts",
            "contradictions",
            "unexplained",
            "lost_letters",
        ):
            found = getattr(verdict, name)
            yield f"  {name.replace('_', ' ')}: {len(found)}"
            yield from (f"    {line}" for line in found[:20])
        yield from (f"  problem: {line}" for line in self.problems)
        steps = self.steps
        yield f"  steps: {steps.computed} computed, {steps.repeated} of them again"
        yield f"  resumes: {len(steps.starts)}; facts replayed: {self.replayed}"
        yield f"  faults that hit work in flight: {self.hits} of {len(self.struck)} done"
        for name, (hit, done) in self.table().items():
            yield f"    {name:<45} {hit:>4} of {done}"
        yield "  recovery (seconds; samples that another fault disturbed are apart)"
        for name, found in self.recovery.items():
            yield f"    {name:<45} {_figures(found)}"


def _name(fault: Fault) -> str:
    part = "gpu" if fault.part.startswith("gpu-") else fault.part
    return " ".join(word for word in (part, fault.kind, fault.detail) if word)


def _figures(found: Figures) -> str:
    goal = "" if found.goal is None else f"  goal {found.goal:.0f}"
    kept = "" if found.held else "  MISSED"
    rest = f"  disturbed {found.disturbed} (max {found.disturbed_worst})" if found.disturbed else ""
    unmet = f"  unmet {found.unmet}" if found.unmet else ""
    told = f"n {found.samples:>3}  median {found.median:>6}  {found.measure} {found.worst:>6}"
    return told + goal + kept + rest + unmet
