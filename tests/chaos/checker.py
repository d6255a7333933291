"""An independent judge of a storm: it knows what was accepted, the public feed and the bucket.

It shares no code with the service but the schemas and the guard's container check.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import rust_guard
from schemas.records import Artifact, JobEvent


@dataclass
class Verdict:
    """What the history shows; a clean one has nothing in its lists."""

    accepted: int
    terminal_events: int
    outcomes: dict[str, int]
    duplicates: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    bad_artifacts: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.duplicates or self.losses or self.bad_artifacts)


def judge(
    accepted: Iterable[str],
    completed_feed: Iterable[JobEvent],
    fetch: Callable[[Artifact], bytes | None],
) -> Verdict:
    """Hold the accepted job ids against the completion feed and the stored videos."""
    jobs = set(accepted)
    events = [event for event in completed_feed if event.job_id in jobs]
    counted = Counter(event.job_id for event in events)
    bad = [
        event.job_id
        for event in events
        if event.kind == "Completed" and not whole(event.artifact, fetch)
    ]
    return Verdict(
        accepted=len(jobs),
        terminal_events=len(events),
        outcomes=dict(Counter(event.kind for event in events)),
        duplicates=sorted(job_id for job_id, times in counted.items() if times > 1),
        losses=sorted(jobs - counted.keys()),
        bad_artifacts=sorted(bad),
    )


def whole(artifact: Artifact | None, fetch: Callable[[Artifact], bytes | None]) -> bool:
    """Whether the bytes behind a completion are the ones it names, and a video of its size."""
    content = fetch(artifact) if artifact is not None else None
    if artifact is None or content is None:
        return False
    if hashlib.sha256(content).hexdigest() != artifact.sha256:
        return False
    try:
        rust_guard.check_video(
            content, artifact.frames, artifact.fps, artifact.width, artifact.height
        )
    except rust_guard.BadArtifact:
        return False
    return True
