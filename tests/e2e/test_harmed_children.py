"""Whatever happens to a render child costs its job an attempt; the slot and the next job go on."""

import os
import resource
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.stack import Stack
from tests.e2e.crashing import openings
from tests.support.api import Api
from tests.support.feeds import completions, events_of
from tests.support.wait import until

pytestmark = pytest.mark.strike

#: A render long enough to be harmed, whose decoding needs memory that it does not hold yet.
JOB: dict[str, Any] = {"width": 320, "height": 192, "num_frames": 31, "num_inference_steps": 40}


def signalled(number: signal.Signals) -> Callable[[int], None]:
    return lambda child: os.kill(child, number)


def starved(child: int) -> None:
    """Nothing more can be allocated."""
    pages = int(Path(f"/proc/{child}/statm").read_text().split()[0])
    most = pages * resource.getpagesize()
    resource.prlimit(child, resource.RLIMIT_AS, (most, most))


def babbling(child: int) -> None:
    """Something that is no message of ours comes out of its pipe."""
    arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    events = int(arguments[arguments.index(b"--events") + 1])
    with Path(f"/proc/{child}/fd/{events}").open("wb", buffering=0) as pipe:
        pipe.write(b"Segmentation fault\n")


#: What happens to the child, and what the attempt is said to have failed of.
HARMS: dict[str, tuple[Callable[[int], None], str]] = {
    "segfault": (signalled(signal.SIGSEGV), "render_crashed"),
    "hang": (signalled(signal.SIGSTOP), "render_stuck"),
    "memory": (starved, "out_of_memory"),
    "garbage": (babbling, "render_crashed"),
}


@dataclass
class Harmed:
    """One slot whose child was harmed under a job.

    Attributes:
        slot: Its process.
        pid: Of that process, before.
        opened: How often the slot had been opened before.
        job_id: The job that was under way.
        next_job: The first one that the slot completed afterwards.
    """

    slot: str
    pid: int
    opened: int
    job_id: str
    next_job: str = ""


@pytest.fixture(scope="module")
def harmed(stack: Stack, api: Api) -> dict[str, Harmed]:
    """All harms at once, each on a slot of its own; then jobs until each slot has done one."""
    found: dict[str, Harmed] = {}
    jobs = dict(zip(HARMS, [api.submit(**JOB) for _ in HARMS], strict=True))
    for name, job_id in jobs.items():
        api.await_status(job_id, "processing")
        until(lambda job_id=job_id: started(api, job_id), 60)  # type: ignore[misc]
        slot = f"gpu-{events_of(stack.info, job_id)[-1].slot}"
        pid = stack.process(slot).pid
        found[name] = Harmed(slot, pid, openings(stack, slot), job_id)
        HARMS[name][0](render_child(pid))
    for one in found.values():
        api.await_status(one.job_id, "completed", seconds=120)
    for _ in range(5):
        more = [api.submit() for _ in HARMS]
        for job_id in more:
            api.await_status(job_id, "completed")
        last = {f"gpu-{events_of(stack.info, job_id)[-1].slot}": job_id for job_id in more}
        for one in found.values():
            one.next_job = one.next_job or last.get(one.slot, "")
        if all(one.next_job for one in found.values()):
            break
    return found


def started(api: Api, job_id: str) -> bool:
    progress = api.job(job_id)["progress"]
    return progress is not None and progress["step"] >= 1


def render_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


def reasons(stack: Stack, job_id: str) -> list[str]:
    retried = [event for event in events_of(stack.info, job_id) if event.kind == "Retrying"]
    return [event.reason.code for event in retried if event.reason]


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_child_costs_an_attempt_and_nothing_else(
    stack: Stack, harmed: dict[str, Harmed], harm: str
) -> None:
    one = harmed[harm]
    assert reasons(stack, one.job_id) == [HARMS[harm][1]]
    kinds = Counter(event.kind for event in events_of(stack.info, one.job_id))
    assert (kinds["Started"], kinds["Completed"]) == (2, 1)
    assert completions(stack.info)[one.job_id] == 1
    # The slot was never let go: the same process, the same opening, and it goes on working.
    assert stack.process(one.slot).pid == one.pid
    assert openings(stack, one.slot) == one.opened
    assert one.next_job, "the slot took no further job"
    assert events_of(stack.info, one.next_job)[-1].kind == "Completed"
