"""A job that is interrupted goes on from its checkpoint and ends with the same bytes."""

import re
import signal
from typing import Any

import pytest

from infra.stack import Stack
from tests.support.api import Api
from tests.support.feeds import completions, events_of
from tests.support.wait import until

LONG: dict[str, Any] = {
    "prompt": "the same picture",
    "width": 160,
    "height": 96,
    "num_frames": 31,
    "num_inference_steps": 160,
    "seed": 7,
}


@pytest.fixture(scope="module")
def undisturbed(api: Api) -> str:
    """SHA-256 of the video that the job makes when nothing happens to it."""
    job = api.await_status(api.submit(**LONG), "completed", seconds=120)
    return str(job["artifact"]["sha256"])


def far_enough(api: Api, job_id: str, step: int) -> None:
    def reached() -> bool:
        progress = api.job(job_id)["progress"]
        return progress is not None and progress["step"] >= step

    until(reached, 60, lambda: f"{api.job(job_id)}")


def slot_of(stack: Stack, job_id: str) -> str:
    started = [e for e in events_of(stack.info, job_id) if e.kind == "Started"]
    return f"gpu-{started[-1].slot}"


def resumed_at(stack: Stack, job_id: str) -> list[int]:
    """Steps that were taken from checkpoints, over all slots."""
    pattern = re.compile(rf'"attempt.resumed".*"{job_id}".*"step": (\d+)')
    logs = [log.read_text() for log in stack.layout.logs.glob("gpu-*.log")]
    return [int(step) for log in logs for step in pattern.findall(log)]


def test_a_killed_consumer_goes_on_from_its_checkpoint(
    stack: Stack, api: Api, undisturbed: str
) -> None:
    job_id = api.submit(**LONG)
    far_enough(api, job_id, 60)
    victim = slot_of(stack, job_id)
    pid = stack.process(victim).pid
    stack.signal(victim, signal.SIGKILL)
    stack.wait_for_restart(victim, pid)
    job = api.await_status(job_id, "completed", seconds=120)
    assert job["artifact"]["sha256"] == undisturbed
    assert max(resumed_at(stack, job_id)) >= 40
    assert completions(stack.info)[job_id] == 1


def test_a_drained_consumer_hands_its_job_to_another_slot(
    stack: Stack, api: Api, undisturbed: str
) -> None:
    job_id = api.submit(**LONG)
    far_enough(api, job_id, 40)
    victim = slot_of(stack, job_id)
    stack.stop_process(victim)
    try:
        job = api.await_status(job_id, "completed", seconds=120)
    finally:
        stack.start_process(victim)
    assert job["artifact"]["sha256"] == undisturbed
    assert "Preempted" in api.timeline(job_id)
    assert slot_of(stack, job_id) != victim
    assert max(resumed_at(stack, job_id)) >= 40
    assert completions(stack.info)[job_id] == 1
