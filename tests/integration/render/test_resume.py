"""A job that goes on from a checkpoint ends as if it had never been broken off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from gpu_consumer.render import checkpoint, encode, pipeline
from gpu_consumer.render.checkpoint import State
from gpu_consumer.render.checkpoint_file import identity
from gpu_consumer.render.device import Device
from gpu_consumer.render.events import (
    Cancelled,
    Checkpointed,
    Failed,
    Phase,
    Rendered,
    RenderEvent,
    ResumeRefused,
    Step,
)
from gpu_consumer.render.fingerprint import fingerprint, folder_of
from gpu_consumer.render.frame_digest import FrameDigest
from gpu_consumer.render.job import RenderJob, Resume
from gpu_consumer.render.renderer import Renderer
from gpu_consumer.render.scheduler import StartingAt
from tests.integration.render import kill_each_step
from tests.integration.render.checkpoints import CPU, FINGERPRINT, JOB, denoise, files_of, load
from tests.integration.render.rendering import DEADLINE, ENDS, LONG, render, settings, until

GPU = Device(torch.device("cuda", 0), "gpu", None)
KINDS = {"cpu-float32": (CPU, torch.float32), "cpu-bfloat16": (CPU, torch.bfloat16)}
if torch.cuda.is_available():
    KINDS["gpu-bfloat16"] = (GPU, torch.bfloat16)
JOBS = {
    "guided": JOB,
    "unguided": replace(JOB, guidance_scale=1.0, num_inference_steps=7, width=80),
}
#: Its steps are slow enough to be killed in.
SLOW = replace(LONG, job_id="slow", num_inference_steps=8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", JOBS)
def test_from_every_step_on_the_video_is_the_same_bit_for_bit(
    folder: Path, tmp_path: Path, kind: str, name: str
) -> None:
    device, dtype = KINDS[kind]
    job, pipe = JOBS[name], load(folder, device, dtype)
    begin = pipeline.encode_prompt(pipe, job)
    files: list[Resume] = []

    def keep(step: int, latents: torch.Tensor) -> None:
        state = State(step, latents.clone(), begin)
        files.append(files_of(tmp_path / f"{step}.safetensors", job, state))

    whole = denoise(pipe, job, begin, keep)
    video = _video(pipe, job, whole, tmp_path / "whole.mp4")
    assert len(files) == job.num_inference_steps
    # Going on needs no text encoder.
    encoder, pipe.text_encoder.forward = pipe.text_encoder.forward, None
    for done, file in enumerate(files, 1):
        state = checkpoint.read(file, job, checkpoint.layout(pipe, job), FINGERPRINT)
        steps = Steps()
        latents = denoise(pipe, job, state, steps.add)
        assert steps.seen == list(range(done + 1, job.num_inference_steps + 1))
        assert latents.dtype == dtype
        assert torch.equal(latents, whole)
        assert _video(pipe, job, latents, tmp_path / "again.mp4") == video
    pipe.text_encoder.forward = encoder
    # The pipeline is left as it was.
    assert torch.equal(denoise(pipe, job, begin), whole)


def test_cutting_the_timesteps_alone_would_give_another_video(folder: Path) -> None:
    pipe = load(folder)
    begin = pipeline.encode_prompt(pipe, JOB)
    states: list[State] = []
    whole = denoise(
        pipe, JOB, begin, lambda step, latents: states.append(State(step, latents.clone(), begin))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            StartingAt, "set_begin_index", FlowMatchEulerDiscreteScheduler.set_begin_index
        )
        assert not torch.equal(denoise(pipe, JOB, states[2]), whole)
    assert torch.equal(denoise(pipe, JOB, states[2]), whole)


def test_a_kill_at_each_of_64_steps_repeats_those_since_the_last_checkpoint(
    tmp_path: Path,
) -> None:
    steps, every = 64, 1
    run = subprocess.run(
        [sys.executable, "-m", kill_each_step.__name__, str(tmp_path), str(steps), str(every)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["killed"] for line in lines] == list(range(1, steps + 1))
    for line in lines:
        assert line["reported"] <= line["found"] <= line["killed"], line
        assert line["done"] == steps - line["found"], line
        assert line["equal"], line
    assert sum(line["found"] > 0 for line in lines) > steps / 2


def test_a_killed_child_costs_the_steps_since_its_last_checkpoint(
    renderer: Renderer, folder: Path, tmp_path: Path
) -> None:
    whole = render(renderer, SLOW, tmp_path / "whole.mp4")
    given = settings(folder, checkpoint_every_steps=1, slot=1)
    out, last, shared = tmp_path / "out.mp4", None, tmp_path / "shared"
    with Renderer(given) as other:
        for kill_at in (2, 5):
            other.submit(SLOW, out, None if last is None else Resume(last.path, shared))
            before = 0 if last is None else last.step
            seen = _until_saved(other, kill_at)
            pid = other.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            failed, more = until(other, Failed)
            seen += more
            assert failed.code == "out_of_memory"
            made = [event for event in seen if isinstance(event, Checkpointed)]
            last = made[-1]
            # The first of a run alone brings what they share.
            assert [event.conditioning is not None for event in made] == [
                event is made[0] for event in made
            ]
            assert made[0].conditioning is not None
            made[0].conditioning.replace(shared)
            assert _steps(seen)[0] == before + 1
            assert before < last.step <= _steps(seen)[-1]
            assert not out.exists()
        assert last is not None
        other.submit(SLOW, out, Resume(last.path, shared))
        end, seen = until(other, *ENDS)
        other.submit(SLOW, tmp_path / "closed.mp4")
        heard = _until_saved(other, 3)
    # What was written and not heard of is gone with the renderer.
    left = set(tmp_path.glob("closed*"))
    made = [event for event in heard if isinstance(event, Checkpointed)]
    assert left <= {event.path for event in made} | {made[0].conditioning}
    assert isinstance(end, Rendered)
    assert end.resumed_from == last.step
    assert _steps(seen) == list(range(last.step + 1, SLOW.num_inference_steps + 1))
    phases = [event.phase for event in seen if isinstance(event, Phase)]
    assert phases == ["denoising", "decoding", "encoding"]
    assert end.frames_sha256 == whole.frames_sha256
    assert out.read_bytes() == whole.path.read_bytes()


def test_a_checkpoint_can_be_asked_for_and_belongs_to_who_hears_of_it(
    renderer: Renderer, tmp_path: Path
) -> None:
    whole = render(renderer, SLOW, tmp_path / "whole.mp4")
    out = tmp_path / "out.mp4"
    renderer.submit(SLOW, out)
    _, before = until(renderer, Step)
    renderer.checkpoint()
    saved, _ = until(renderer, Checkpointed)
    renderer.cancel()
    until(renderer, Cancelled)
    # A step may have ended while the request was on its way, and one was under way.
    assert saved.step <= _steps(before)[-1] + 2
    assert saved.total == SLOW.num_inference_steps
    assert saved.path == tmp_path / f"out.{saved.step}.safetensors"
    assert saved.conditioning == tmp_path / "out.conditioning.safetensors"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {saved.path.name, saved.conditioning.name, "whole.mp4"}
    renderer.submit(SLOW, out, Resume(saved.path, saved.conditioning))
    end, _ = until(renderer, *ENDS)
    assert isinstance(end, Rendered)
    assert end.resumed_from == saved.step
    assert out.read_bytes() == whole.path.read_bytes()
    assert saved.path.exists()
    assert saved.conditioning.exists()


def test_a_file_that_does_not_fit_is_refused_and_costs_nothing_more(
    renderer: Renderer, tmp_path: Path
) -> None:
    whole = render(renderer, JOB, tmp_path / "whole.mp4")
    assert whole.resumed_from == 0
    child = renderer.pid
    hostile = tmp_path / "hostile.safetensors"
    hostile.write_bytes(b"\xff" * 100_000)
    for resume in (hostile, tmp_path / "missing.safetensors", tmp_path):
        renderer.submit(JOB, tmp_path / "out.mp4", Resume(resume, resume))
        end, seen = until(renderer, *ENDS)
        assert isinstance(end, Rendered)
        assert end.resumed_from == 0
        assert isinstance(seen[0], ResumeRefused)
        assert _steps(seen) == list(range(1, JOB.num_inference_steps + 1))
        assert end.frames_sha256 == whole.frames_sha256
    assert renderer.pid == child
    assert hostile.exists()


def test_a_fingerprint_names_what_decides_the_bits(folder: Path, tmp_path: Path) -> None:
    versions = {"torch": "2", "diffusers": "3", "transformers": "4", "av": "5"}

    def line(of: Path) -> str:
        return fingerprint("tiny", folder_of("tiny", of / "models"), CPU, versions)

    here = line(folder)
    for part in ("model=tiny;", "dtype=float32", "device=cpu", "diffusers=3", "threads="):
        assert part in here
    assert line(tmp_path) == here  # made anew, the same weights
    changed = next((tmp_path / "models").glob("*/transformer/*.safetensors"))
    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    assert identity(line(tmp_path)) != identity(here)
    versions["torch"] = "2.1"
    assert line(folder) != here
    assert identity(line(folder)) == identity(here)


class Steps:
    """The steps that a loop went through."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def add(self, step: int, _latents: torch.Tensor) -> None:
        self.seen.append(step)


def _video(pipe: Any, job: RenderJob, latents: torch.Tensor, path: Path) -> tuple[str, bytes]:
    digest = FrameDigest()
    video = pipeline.decode(pipe, latents, job, lambda: None)
    shown = digest.over(pipeline.frames(video), lambda: None)
    encode.encode(shown, path, width=job.width, height=job.height, fps=job.fps)
    return digest.hexdigest(), path.read_bytes()


def _steps(events: list[RenderEvent]) -> list[int]:
    return [event.step for event in events if isinstance(event, Step)]


def _until_saved(renderer: Renderer, step: int) -> list[RenderEvent]:
    """All events up to one of a step that is at least ``step``, a checkpoint among them."""
    seen: list[RenderEvent] = []
    while not (
        max(_steps(seen), default=0) >= step
        and any(isinstance(event, Checkpointed) for event in seen)
    ):
        seen += until(renderer, Step, Checkpointed)[1]
    return seen
