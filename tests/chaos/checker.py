"""An independent judge of a storm: it knows what was accepted, the public feeds and the bucket.

It shares no code with the service but the schemas and the guard's container check.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import rust_guard
from schemas.records import Artifact, DeadLetter, JobEvent

Fetch = Callable[[Artifact], bytes | None]

#: The feed's own terms, not the service's table of them.
_TERMINAL: Final = frozenset({"Completed", "Failed", "Cancelled", "Refused", "Expired"})
_STATUS: Final = {"Completed": "completed", "Cancelled": "cancelled"}


@dataclass(frozen=True)
class History:
    """What a storm left behind.

    Attributes:
        accepted: Ids of the jobs that producers were told are accepted.
        cancelling: Ids of those whose cancel was asked for.
        bad: Topic, partition and offset of records that are no requests.
        completed: The completion feed.
        events: The event feed, each job's in order.
        letters: Dead letters.
        shown: Status by the API, of the jobs it was asked for.
    """

    accepted: Collection[str]
    completed: Sequence[JobEvent]
    cancelling: Collection[str] = ()
    bad: Collection[tuple[str, int, int]] = ()
    events: Sequence[JobEvent] = ()
    letters: Sequence[DeadLetter] = ()
    shown: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Verdict:
    """What the history shows; a clean one has nothing in its lists.

    Attributes:
        duplicates: Jobs with more than one terminal event.
        losses: Accepted jobs without one.
        bad_artifacts: Completed jobs whose video is missing, or other bytes than announced.
        contradictions: What the feeds say that cannot all be true, a line each.
        unexplained: Ends that nothing in the storm asks for, a line each.
        lost_letters: Bad records without a dead letter.
    """

    accepted: int
    terminal_events: int
    outcomes: dict[str, int]
    duplicates: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    bad_artifacts: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    lost_letters: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (
            self.duplicates
            or self.losses
            or self.bad_artifacts
            or self.contradictions
            or self.unexplained
            or self.lost_letters
        )


def judge(history: History, fetch: Fetch) -> Verdict:
    """Hold what was accepted against the feeds and the stored videos."""
    jobs = set(history.accepted)
    ends = [event for event in history.completed if event.job_id in jobs]
    counted = Counter(event.job_id for event in ends)
    bad = [e.job_id for e in ends if e.kind == "Completed" and not whole(e.artifact, fetch)]
    return Verdict(
        accepted=len(jobs),
        terminal_events=len(ends),
        outcomes=dict(Counter(event.kind for event in ends)),
        duplicates=sorted(job_id for job_id, times in counted.items() if times > 1),
        losses=sorted(jobs - counted.keys()),
        bad_artifacts=sorted(bad),
        contradictions=sorted([*_contradictions(history, ends), *_wrongly_shown(history, ends)]),
        unexplained=sorted(_unexplained(history, ends)),
        lost_letters=sorted(_lost_letters(history)),
    )


def whole(artifact: Artifact | None, fetch: Fetch) -> bool:
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


def _contradictions(history: History, ends: Iterable[JobEvent]) -> Iterable[str]:
    """Both feeds must tell the same ends, and nothing may follow one."""
    if not history.events:
        return
    ended: dict[str, JobEvent] = {}
    for event in history.events:
        if event.job_id in ended:
            yield f"{event.job_id}: {event.kind} after {ended[event.job_id].kind}"
        elif event.kind in _TERMINAL:
            ended[event.job_id] = event
    for end in ends:
        told = ended.get(end.job_id)
        if told is None:
            yield f"{end.job_id}: {end.kind} in the completion feed alone"
        elif (told.kind, told.artifact) != (end.kind, end.artifact):
            yield f"{end.job_id}: {told.kind} in the event feed, {end.kind} in the completion feed"
    announced = {end.job_id for end in history.completed}
    for job_id, event in ended.items():
        if job_id not in announced:
            yield f"{job_id}: {event.kind} in the event feed alone"


def _wrongly_shown(history: History, ends: Iterable[JobEvent]) -> Iterable[str]:
    for end in ends:
        shown = history.shown.get(end.job_id)
        wanted = _STATUS.get(end.kind, "failed")
        if shown is not None and shown != wanted:
            yield f"{end.job_id}: {end.kind}, and shown as {shown}"


def _unexplained(history: History, ends: Iterable[JobEvent]) -> Iterable[str]:
    """Storms cancel some jobs and refuse none; a failure must have left its dead letter."""
    lettered = {letter.job_id for letter in history.letters}
    for end in ends:
        why = end.reason.code if end.reason is not None else "no reason"
        if end.kind == "Cancelled" and end.job_id not in history.cancelling:
            yield f"{end.job_id}: Cancelled, and nobody asked"
        if end.kind in {"Refused", "Expired"}:
            yield f"{end.job_id}: {end.kind} ({why})"
        if end.kind == "Failed" and end.job_id not in lettered:
            yield f"{end.job_id}: Failed ({why}) without a dead letter"


def _lost_letters(history: History) -> Iterable[str]:
    kept = {(letter.topic, letter.partition, letter.offset) for letter in history.letters}
    for topic, partition, offset in history.bad:
        if (topic, partition, offset) not in kept:
            yield f"{topic} {partition} {offset}"
