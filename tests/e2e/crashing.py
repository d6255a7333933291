"""Slots struck at named points while they work: armed, watched, and what they left behind.

All idle slots are armed for a point, and the one that takes the job is struck. A slot takes seconds
to start again: the next one is struck meanwhile.
"""

from __future__ import annotations

import contextlib
import re
import signal
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from infra.settings import Settings
from infra.stack import Stack
from schemas.codec import codec
from schemas.records import JobEvent, JobProgress
from schemas.topics import Topics
from tests.support.api import Api
from tests.support.feeds import events_of, read_all, read_messages, settings_of
from tests.support.held import Held, held
from tests.support.wait import until

#: Seconds of work, many checkpoints, and the same bytes each time.
JOB: dict[str, Any] = {
    "prompt": "the same picture",
    "width": 96,
    "height": 64,
    "num_frames": 13,
    "num_inference_steps": 60,
    "seed": 7,
}
#: Armed once a checkpoint is stored: earlier there would be nothing to go on from.
_LATE = {"gpu_mid_render"}
_REACHED = 60.0

Fate = Literal["restarted", "dead", "frozen"]


@dataclass
class Strike:
    """One slot struck at one point, and what was seen of it.

    Attributes:
        point: The crash point.
        fate: What becomes of the slot: started again at once, not before its job has ended
            elsewhere, or stopped in the middle and continued after that.
        slot: Name of its process.
        opened: How often that slot had been opened before.
        job_id: What it worked on.
        then: What the bucket held at that moment.
        ends_then: Terminal events of the job in the completion feed then: all, and committed.
        job: The job in the end, as the API shows it.
    """

    point: str
    fate: Fate = "restarted"
    slot: str = ""
    opened: int = 0
    job_id: str = ""
    then: Held | None = None
    ends_then: tuple[int, ...] = ()
    job: dict[str, Any] = field(default_factory=dict)


@contextmanager
def patient(stack: Stack) -> Iterator[None]:
    """A scheduler that gives silent slots two minutes: nobody is fenced, however slow all is."""
    _restart_scheduler(stack, beat_timeout=120)
    try:
        yield
    finally:
        _restart_scheduler(stack, Settings.model_fields["beat_timeout"].default)


def _restart_scheduler(stack: Stack, beat_timeout: float) -> None:
    stack.stop_process("scheduler")
    stack.start_process("scheduler", env={"TTV_BEAT_TIMEOUT": str(beat_timeout)})


def strike(stack: Stack, api: Api, strikes: list[Strike]) -> None:
    """Strike a slot for each of ``strikes``. Nobody may be fenced meanwhile."""
    free = sorted(p.name for p in stack.info.processes if p.name.startswith("gpu-"))
    until(lambda: all(openings(stack, slot) for slot in free), 60)
    try:
        for one in strikes:
            _strike(stack, api, one, free)
            free.remove(one.slot)
    except BaseException:
        for one in strikes:
            _make_whole(stack, one)
        raise


def see_through(stack: Stack, api: Api, strikes: list[Strike]) -> None:
    """Wait for the jobs of struck slots, then make all slots whole again."""
    try:
        for one in strikes:
            one.job = api.await_status(one.job_id, "completed", seconds=120)
    finally:
        for one in strikes:
            _make_whole(stack, one)
    for one in strikes:
        until(lambda one=one: openings(stack, one.slot) > one.opened, 60)  # type: ignore[misc]


def _strike(stack: Stack, api: Api, one: Strike, free: list[str]) -> None:
    """Give a job to whoever takes it, strike it, and look at once what it leaves behind."""
    pids = {slot: stack.process(slot).pid for slot in free}
    opened = {slot: openings(stack, slot) for slot in free}
    armed = [] if one.point in _LATE else [_arm(stack, one, slot) for slot in free]
    one.job_id = api.submit(**JOB)
    if not armed:
        until(lambda: held(stack.info, one.job_id).step > 0, _REACHED)
        started = [e for e in events_of(stack.info, one.job_id) if e.kind == "Started"]
        armed = [_arm(stack, one, f"gpu-{started[-1].slot}")]
    try:
        until(lambda: not all(marker.exists() for marker in armed), _REACHED, lambda: one.point)
        one.slot = next(path.parent.parent.name for path in armed if not path.exists())
        one.opened = opened[one.slot]
    finally:
        for marker in armed:
            marker.unlink(missing_ok=True)
    until(lambda: _is_still(pids[one.slot]))
    if one.fate == "dead":
        _keep_down(stack, one.slot)
    one.then = held(stack.info, one.job_id)
    if one.point.endswith("_after_commit"):  # answered, and a moment later to be read
        until(lambda: _ends(stack, one.job_id, "read_committed") > 0, 10)
    levels = ("read_uncommitted", "read_committed")
    one.ends_then = tuple(_ends(stack, one.job_id, level) for level in levels)


def _arm(stack: Stack, one: Strike, slot: str) -> Path:
    """Have a slot die, or freeze, at the point; the file that is gone once it has."""
    marker = stack.layout.work / slot / "crash" / one.point
    marker.parent.mkdir(exist_ok=True)
    part = marker.with_suffix(".part")
    part.write_text("SIGSTOP" if one.fate == "frozen" else "")
    return part.rename(marker)


def openings(stack: Stack, slot: str) -> int:
    """How often the slot has been opened."""
    return (stack.layout.logs / f"{slot}.log").read_text().count('"slot.opened"')


def logged(stack: Stack, event: str, job_id: str) -> list[str]:
    """Lines of all slots about a job."""
    logs = [log.read_text() for log in sorted(stack.layout.logs.glob("gpu-*.log"))]
    lines = [line for log in logs for line in log.splitlines()]
    return [line for line in lines if f'"{event}"' in line and job_id in line]


def resumed_at(stack: Stack, job_id: str) -> list[int]:
    """Steps that were taken from checkpoints."""
    found = [re.search(r'"step": (\d+)', line) for line in logged(stack, "attempt.resumed", job_id)]
    return [int(one[1]) for one in found if one]


def steps_done(stack: Stack, job_id: str) -> list[int]:
    """Denoising steps in the order in which they were computed, each as often as it was."""
    told = read_all(stack.info, Topics().progress, JobProgress)
    return [
        one.step
        for one in told
        # A record without an ETA says that the phase begins; the very first step has none either.
        if one.job_id == job_id
        and one.phase == "denoising"
        and (one.eta_s is not None or one.step == 1)
    ]


def _is_still(pid: int) -> bool:
    """Whether a process computes nothing any more: it is gone, dead or stopped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "TZX"


def _ends(stack: Stack, job_id: str, isolation: str) -> int:
    settings = settings_of(stack.info)
    decode = codec(settings.registry).decode
    messages = read_messages(settings, Topics().completed, isolation=isolation)
    events = [decode(JobEvent, bytes(message.value() or b"")) for message in messages]
    return sum(event.job_id == job_id for event in events)


def _keep_down(stack: Stack, slot: str) -> None:
    """Stop a process that the supervisor is about to start again."""

    def stopped() -> bool:
        with contextlib.suppress(xmlrpc.client.Fault):  # between two lives
            stack.stop_process(slot)
            return True
        return False

    until(stopped)


def _make_whole(stack: Stack, one: Strike) -> None:
    if not one.slot:
        return
    if one.fate == "dead":
        stack.start_process(one.slot)
    elif one.fate == "frozen":
        stack.signal(one.slot, signal.SIGCONT)
