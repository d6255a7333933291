"""The frames are those of diffusers' own pipeline, whichever process renders them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from gpu_consumer.render import pipeline
from gpu_consumer.render.device import Device
from gpu_consumer.render.failures import BadOutput
from gpu_consumer.render.job import RenderJob
from gpu_consumer.render.renderer import Renderer
from gpu_consumer.render.tiny import tiny_model
from tests.integration.render.rendering import DEADLINE, SMALL, render

# Mochi's rotary embedding asks for float32 autocast, which a CPU declines with a warning.
pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")

JOBS = {
    "small": SMALL,
    "unguided": replace(SMALL, job_id="unguided", guidance_scale=1.0, num_inference_steps=3),
    "one frame": replace(SMALL, job_id="one-frame", num_frames=1, negative_prompt=""),
    "odd sizes": replace(SMALL, job_id="odd-sizes", width=80, height=32, num_frames=13),
}


@pytest.fixture(scope="module")
def direct(folder: Path) -> Any:
    """diffusers' MochiPipeline over the same weights, in this process."""
    torch.set_num_threads(1)
    loader: Any = diffusers.MochiPipeline
    pipe = loader.from_pretrained(str(tiny_model(folder / "models")), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", JOBS)
def test_frames_equal_a_direct_call_digest_for_digest(
    renderer: Renderer, direct: Any, tmp_path: Path, name: str
) -> None:
    job = JOBS[name]
    rendered = render(renderer, job, tmp_path / "out.mp4")
    assert rendered.frames == job.num_frames
    direct.vae.use_tiling = False
    assert rendered.frames_sha256 == _digest(direct, job)


def test_frames_of_a_large_clip_equal_a_direct_call_with_tiling(
    direct: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(SMALL, width=272, height=272, num_frames=7, num_inference_steps=2)
    tiles = 0

    def count() -> None:
        nonlocal tiles
        tiles += 1

    monkeypatch.setattr(pipeline, "TILED_ABOVE", job.width * job.height * job.num_frames - 1)
    latents = pipeline.denoise(
        direct,
        job,
        pipeline.encode_prompt(direct, job),
        settle=lambda: None,
        on_step=lambda _step, _seconds, _latents: None,
        stopped=lambda: False,
    )
    video = pipeline.decode(direct, latents, job, count)
    frames = hashlib.sha256(b"".join(frame.tobytes() for frame in pipeline.frames(video)))
    assert tiles == 4
    direct.vae.enable_tiling()
    assert frames.hexdigest() == _digest(direct, job)


def test_latents_that_are_no_picture_are_refused(direct: Any) -> None:
    video = torch.zeros(3, 9, 32, 32)
    video[0, 8, 0, 0] = float("nan")
    with pytest.raises(BadOutput):
        list(pipeline.frames(video))
    unhealthy = replace(SMALL, guidance_scale=30.0)
    conditioning = pipeline.encode_prompt(direct, unhealthy)
    embeds = conditioning["prompt_embeds"]
    assert embeds is not None
    conditioning["prompt_embeds"] = torch.full_like(embeds, float("inf"))
    with pytest.raises(BadOutput):
        pipeline.denoise(
            direct,
            unhealthy,
            conditioning,
            settle=lambda: None,
            on_step=lambda _step, _seconds, _latents: None,
            stopped=lambda: False,
        )


def test_a_folder_without_a_model_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"model_index\.json"):
        pipeline.load(str(tmp_path), tmp_path, Device(torch.device("cpu"), "cpu", None))


def test_prompt_negative_prompt_seed_and_steps_each_change_the_picture(
    renderer: Renderer, tmp_path: Path
) -> None:
    variants = [
        SMALL,
        replace(SMALL, prompt="a cat in the sun"),
        replace(SMALL, negative_prompt=""),
        replace(SMALL, seed=12),
        replace(SMALL, num_inference_steps=5),
        replace(SMALL, guidance_scale=7.0),
    ]
    digests = [render(renderer, job, tmp_path / "o.mp4").frames_sha256 for job in variants]
    assert len(set(digests)) == len(variants)


def test_a_model_made_elsewhere_by_another_process_renders_the_same_and_leaks_no_prompt(
    renderer: Renderer, tmp_path: Path
) -> None:
    # Long enough to be cut by the tokenizer, which diffusers would warn of with the prompt's text.
    job = replace(SMALL, prompt="a secret " * 60)
    here = render(renderer, job, tmp_path / "here.mp4")
    run = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, str(tmp_path), job.prompt],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert run.stdout.strip() == here.frames_sha256
    assert (tmp_path / "there.mp4").read_bytes() == (tmp_path / "here.mp4").read_bytes()
    assert "secret" not in run.stderr


_ELSEWHERE = """
import sys
from dataclasses import replace
from pathlib import Path
from gpu_consumer.render.renderer import Renderer
from tests.integration.render.rendering import SMALL, render, settings

folder = Path(sys.argv[1])
with Renderer(settings(folder)) as renderer:
    job = replace(SMALL, prompt=sys.argv[2])
    print(render(renderer, job, folder / "there.mp4").frames_sha256)
"""


def _digest(pipe: Any, job: RenderJob) -> str:
    result = pipe(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        width=job.width,
        height=job.height,
        num_frames=job.num_frames,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="np",
    ).frames[0]
    frames = (result * 255).round().astype("uint8")
    assert frames.shape == (job.num_frames, job.height, job.width, 3)
    return hashlib.sha256(frames.tobytes()).hexdigest()
