"""What ended jobs leave in the bucket goes; the video that an event names stays."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.provision import object_store
from infra.stack import Stack
from infra.stack.services import environment
from tests.support.api import Api
from tests.support.feeds import completions, events_of
from tests.support.settings import settings_from
from tests.support.wait import until

pytestmark = pytest.mark.strike

LONG: dict[str, Any] = {"width": 160, "height": 96, "num_frames": 31, "num_inference_steps": 160}


def stored(stack: Stack, job_id: str) -> list[str]:
    """Keys in the bucket that belong to a job."""
    config = settings_from(environment(stack.info))
    listed = object_store(config).list_objects(config.s3_bucket, recursive=True)
    return sorted(str(one.object_name) for one in listed if job_id in str(one.object_name))


def folders(keys: list[str]) -> set[str]:
    return {key.split("/")[0] for key in keys}


@contextmanager
def eager(stack: Stack, name: str, setting: str) -> Iterator[None]:
    """A collector that does not wait, for a while."""
    stack.stop_process(name)
    stack.start_process(name, env={setting: "0.5"})
    try:
        yield
    finally:
        stack.stop_process(name)
        stack.start_process(name, env={setting: "86400"})


def working_on(stack: Stack, api: Api, job_id: str, step: int) -> str:
    """The slot that renders the job, once it has come so far."""

    def reached() -> bool:
        progress = api.job(job_id)["progress"]
        return progress is not None and progress["step"] >= step

    until(reached, 90, lambda: f"{api.job(job_id)}")
    started = [e for e in events_of(stack.info, job_id) if e.kind == "Started"]
    return f"gpu-{started[-1].slot}"


def named_video(stack: Stack, job_id: str) -> str:
    completed = [e for e in events_of(stack.info, job_id) if e.kind == "Completed"]
    assert completed[0].artifact is not None
    return completed[0].artifact.key


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "setting"),
    [("collector", "TTV_COLLECT_AFTER"), ("collector-late", "TTV_COLLECT_LATE_AFTER")],
)
def test_a_job_cancelled_on_a_frozen_slot_leaves_nothing_but_its_claim(
    stack: Stack, api: Api, name: str, setting: str
) -> None:
    job_id = api.submit(**LONG)
    victim = working_on(stack, api, job_id, 30)
    pid = stack.process(victim).pid
    stack.signal(victim, signal.SIGSTOP)
    try:
        assert api.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
        api.await_status(job_id, "cancelled", seconds=90)
    finally:
        stack.signal(victim, signal.SIGCONT)
    stack.wait_for_restart(victim, pid)
    assert {"checkpoints", "starts", "claims"} <= folders(stored(stack, job_id))
    with eager(stack, name, setting):
        until(lambda: folders(stored(stack, job_id)) == {"claims"}, 60, lambda: "not collected")


@pytest.fixture
def dying_after_commit(stack: Stack) -> Iterator[list[Path]]:
    """Every slot dies once after its next commit; the files that say so."""
    slots = [p.name for p in stack.info.processes if p.name.startswith("gpu-")]
    armed = [stack.layout.work / slot / "crash" / "gpu_after_commit" for slot in slots]
    yield armed
    for file in armed:
        file.unlink(missing_ok=True)


@pytest.mark.timeout(300)
def test_a_consumer_that_dies_after_its_commit_leaves_orphans_that_go_and_a_video_that_stays(
    stack: Stack, api: Api, dying_after_commit: list[Path]
) -> None:
    job_id = api.submit(**LONG)
    working_on(stack, api, job_id, 100)  # the commit of Started is behind it
    for file in dying_after_commit:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    api.await_status(job_id, "completed", seconds=150)
    until(lambda: not all(file.exists() for file in dying_after_commit), 30, lambda: "none crashed")
    assert folders(stored(stack, job_id)) == {"checkpoints", "starts", "videos", "claims"}
    with eager(stack, "collector", "TTV_COLLECT_AFTER"):
        until(
            lambda: folders(stored(stack, job_id)) == {"videos", "claims"},
            60,
            lambda: f"{stored(stack, job_id)}",
        )
    key = named_video(stack, job_id)
    kept = [one for one in stored(stack, job_id) if one.startswith("videos/")]
    assert kept == sorted([key, key[:-4] + ".json", key[:-4] + ".manifest.json"])
    assert len(api.video(job_id)) == api.job(job_id)["artifact"]["size"]
    assert completions(stack.info)[job_id] == 1
