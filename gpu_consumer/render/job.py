"""What is rendered, and what Mochi-1 can render. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.job import (
    FPS,
    MAX_FRAMES,
    MAX_GUIDANCE,
    MAX_HEIGHT,
    MAX_SEED,
    MAX_STEPS,
    MAX_WIDTH,
    MIN_SIDE,
    SIDE_STEP,
)

#: diffusers' linear-quadratic schedule divides by ``steps // 2``.
MIN_STEPS: Final = 2


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One video to render: sizes in pixels, ``fps`` in frames a second."""

    job_id: str
    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    fps: int = FPS

    def __repr__(self) -> str:
        """Leaves the prompts out: they are personal data, and reprs end in logs."""
        return (
            f"RenderJob({self.job_id}, {self.width}x{self.height}x{self.num_frames}, "
            f"{self.num_inference_steps} steps)"
        )


@dataclass(frozen=True, slots=True)
class Resume:
    """A checkpoint to go on from.

    Attributes:
        checkpoint: The latents' file.
        conditioning: The file of what the text encoder made; None: the renderer has none.
    """

    checkpoint: Path
    conditioning: Path | None = None

    def absolute(self) -> list[str]:
        """The files' names, from the root on."""
        files = (self.checkpoint, self.conditioning)
        return [str(file.absolute()) for file in files if file is not None]


def unfinished(path: Path) -> Path:
    """Where the bytes of the video ``path`` are until they are whole and durable."""
    return path.with_name(path.name + ".part")


def checkpoint_of(path: Path, step: int) -> Path:
    """Where the checkpoint after ``step`` denoising steps of the video ``path`` is."""
    return path.with_name(f"{path.stem}.{step}.safetensors")


def conditioning_of(path: Path) -> Path:
    """Where the conditioning is that all checkpoints of one run of the video ``path`` share."""
    return path.with_name(f"{path.stem}.conditioning.safetensors")


def unfinished_checkpoint(path: Path) -> Path:
    """Where a checkpoint of the video ``path`` is until it is whole and durable."""
    return path.with_name(f"{path.stem}.checkpoint.part")


def faults(job: RenderJob) -> list[str]:
    """What of ``job`` the model cannot render, each naming its field; never quotes a prompt."""
    found = []
    for name, side, most in (
        ("width", job.width, MAX_WIDTH),
        ("height", job.height, MAX_HEIGHT),
    ):
        if not MIN_SIDE <= side <= most or side % SIDE_STEP:
            found.append(f"{name} {side}: a multiple of {SIDE_STEP} from {MIN_SIDE} to {most}")
    if not 1 <= job.num_frames <= MAX_FRAMES or job.num_frames % 6 != 1:
        found.append(f"num_frames {job.num_frames}: 6k+1, at most {MAX_FRAMES}")
    if not MIN_STEPS <= job.num_inference_steps <= MAX_STEPS:
        found.append(f"num_inference_steps {job.num_inference_steps}: {MIN_STEPS} to {MAX_STEPS}")
    if not (math.isfinite(job.guidance_scale) and 0 <= job.guidance_scale <= MAX_GUIDANCE):
        found.append(f"guidance_scale {job.guidance_scale}: 0 to {MAX_GUIDANCE:g}")
    if not 0 <= job.seed <= MAX_SEED:
        found.append(f"seed {job.seed}: 0 to {MAX_SEED}")
    if not 1 <= job.fps <= 120:
        found.append(f"fps {job.fps}: 1 to 120")
    for name, text in (("prompt", job.prompt), ("negative_prompt", job.negative_prompt)):
        if any("\ud800" <= character <= "\udfff" for character in text):
            found.append(f"{name}: a lone surrogate cannot be UTF-8")
    return found
