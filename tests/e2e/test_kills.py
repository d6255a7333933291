"""A GPU consumer that dies costs a repeat, never a job and never a second completion."""

import os
import signal
from pathlib import Path

import pytest

from infra.kafka import committed_consumer, committed_offset
from infra.slots import SlotMark, slot_group
from infra.stack import Stack
from schemas.codec import codec
from schemas.topics import Topics
from streams.scheduler.commands import Fence
from streams.scheduler.fencing import fence
from tests.support.api import Api
from tests.support.feeds import completions, events_of, settings_of
from tests.support.wait import until

LONG = {"width": 160, "height": 96, "num_frames": 31, "num_inference_steps": 60}


def slots_of(stack: Stack) -> list[str]:
    return sorted(p.name for p in stack.info.processes if p.name.startswith("gpu-"))


def slot_at_work(stack: Stack, job_id: str) -> str:
    started = [e for e in events_of(stack.info, job_id) if e.kind == "Started"]
    return f"gpu-{started[-1].slot}"


def test_forty_jobs_on_four_slots_complete_once_each_and_all_slots_work(
    stack: Stack, api: Api
) -> None:
    assert len(slots_of(stack)) == 4
    jobs = [api.submit(prompt=f"fox {number}") for number in range(40)]
    for job_id in jobs:
        api.await_status(job_id, "completed", seconds=180)
    counted = completions(stack.info)
    assert {counted[job_id] for job_id in jobs} == {1}
    spans = []
    for job_id in jobs:
        events = {event.kind: event for event in events_of(stack.info, job_id)}
        spans.append((events["Started"], events["Completed"]))
    assert {started.slot for started, _ in spans} == {0, 1, 2, 3}
    most = max(
        len({s.slot for s, c in spans if s.occurred_at <= moment.occurred_at < c.occurred_at})
        for moment, _ in spans
    )
    assert most == 4, "all four worked at once"


def test_a_consumer_killed_mid_render_resumes_its_job(stack: Stack, api: Api) -> None:
    job_id = api.submit(**LONG)
    api.await_status(job_id, "processing")
    victim = slot_at_work(stack, job_id)
    pid = stack.process(victim).pid
    stack.signal(victim, signal.SIGKILL)
    stack.wait_for_restart(victim, pid)
    api.await_status(job_id, "completed", seconds=120)
    assert completions(stack.info)[job_id] == 1


def test_a_render_child_killed_mid_render_costs_an_attempt(stack: Stack, api: Api) -> None:
    job_id = api.submit(**LONG)
    api.await_status(job_id, "processing")
    victim = stack.process(slot_at_work(stack, job_id)).pid
    for child in Path(f"/proc/{victim}/task/{victim}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    api.await_status(job_id, "completed", seconds=120)
    assert "Retrying" in api.timeline(job_id)
    assert completions(stack.info)[job_id] == 1


def test_a_slot_that_stays_dead_is_fenced_and_its_job_ends_elsewhere(
    stack: Stack, api: Api
) -> None:
    job_id = api.submit(**LONG)
    api.await_status(job_id, "processing")
    victim = slot_at_work(stack, job_id)
    stack.signal(victim, signal.SIGKILL)
    stack.stop_process(victim)
    try:
        api.await_status(job_id, "completed", seconds=120)
        events = events_of(stack.info, job_id)
        assert events[-1].kind == "Completed"
        assert f"gpu-{events[-1].slot}" != victim
        assert events[-1].attempt == 2
        assert completions(stack.info)[job_id] == 1
    finally:
        stack.start_process(victim)
    back = api.submit()
    api.await_status(back, "completed")
    until(lambda: stack.process(victim).pid > 0, 30)


def test_a_frozen_consumer_that_wakes_up_cannot_complete_its_job(stack: Stack, api: Api) -> None:
    job_id = api.submit(**LONG)
    api.await_status(job_id, "processing")
    victim = slot_at_work(stack, job_id)
    pid = stack.process(victim).pid
    stack.signal(victim, signal.SIGSTOP)
    try:
        job = api.await_status(job_id, "completed", seconds=120)
    finally:
        stack.signal(victim, signal.SIGCONT)
    assert job["attempt"] == 2
    stack.wait_for_restart(victim, pid)
    assert completions(stack.info)[job_id] == 1
    assert events_of(stack.info, job_id)[-1].kind == "Completed"


def test_a_slot_fenced_while_it_renders_stops_within_seconds(stack: Stack, api: Api) -> None:
    job_id = api.submit(width=256, height=256, num_frames=61, num_inference_steps=256)
    api.await_status(job_id, "processing")
    victim = slot_at_work(stack, job_id)
    pid, slot = stack.process(victim).pid, int(victim.removeprefix("gpu-"))
    settings = settings_of(stack.info)
    consumer = committed_consumer(settings, slot_group(settings))
    mark = SlotMark.read(committed_offset(consumer, Topics().assignments(settings.pool), slot))
    consumer.close()
    fence(settings, codec(settings.registry), Fence(slot, mark.holder, mark.n + 1))
    stack.wait_for_restart(victim, pid, timeout=10)
    assert "held by fenced" in stack.log_tail(victim)
    until(lambda: [e.attempt for e in events_of(stack.info, job_id)][-1] == 2, 30)
    assert api.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    api.await_status(job_id, "cancelled", seconds=30)
    assert completions(stack.info)[job_id] == 1


@pytest.mark.parametrize("part", ["scheduler", "admission", "worker", "api"])
def test_a_killed_part_comes_back_and_nothing_is_lost_or_repeated(
    stack: Stack, api: Api, part: str
) -> None:
    before = [api.submit(prompt=f"before {n}") for n in range(6)]
    pid = stack.process(part).pid
    stack.signal(part, signal.SIGKILL)
    stack.wait_for_restart(part, pid)
    until(api.ready, 30)
    after = [api.submit(prompt=f"after {n}") for n in range(2)]
    for job_id in before + after:
        api.await_status(job_id, "completed", seconds=120)
    counted = completions(stack.info)
    assert {counted[job_id] for job_id in before + after} == {1}
