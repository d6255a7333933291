"""A tiny pipeline in this process, and the states it goes through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gpu_consumer.render import checkpoint, pipeline
from gpu_consumer.render.checkpoint import Conditioning, State
from gpu_consumer.render.device import Device
from gpu_consumer.render.job import RenderJob, Resume, conditioning_of
from tests.integration.render.rendering import SMALL

CPU = Device(torch.device("cpu"), "cpu", None)
JOB = replace(SMALL, job_id="resumed", num_inference_steps=8, seed=5)
FINGERPRINT = "model=tiny;weights=ab;dtype=float32;device=cpu;torch=2"


def load(folder: Path, device: Device = CPU, dtype: torch.dtype = torch.float32) -> Any:
    """The tiny pipeline, as a child loads it."""
    torch.set_num_threads(1)
    return pipeline.load("tiny", folder / "models", device).to(dtype)


def denoise(
    pipe: Any,
    job: RenderJob,
    begin: State | Conditioning,
    on_step: Callable[[int, torch.Tensor], None] = lambda _step, _latents: None,
) -> torch.Tensor:
    """The clean latents of ``job``."""
    return pipeline.denoise(
        pipe,
        job,
        begin,
        settle=lambda: None,
        on_step=lambda step, _seconds, latents: on_step(step, latents),
        stopped=lambda: False,
    )


def files_of(path: Path, job: RenderJob, state: State, fingerprint: str = FINGERPRINT) -> Resume:
    """``path`` and the file of its conditioning, which hold ``state``."""
    part = path.with_suffix(".part")
    about = checkpoint.metadata(job, state.step, fingerprint)
    checkpoint.write(path, part, {checkpoint.LATENTS: state.latents}, about)
    texts = {name: one for name, one in state.conditioning.items() if one is not None}
    about = checkpoint.conditioning_metadata(job, fingerprint)
    checkpoint.write(conditioning_of(path), part, texts, about)
    return Resume(path, conditioning_of(path))
