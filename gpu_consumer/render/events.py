"""What a renderer reports, in the order it happened.

A submitted job ends with exactly one of Rendered, Cancelled and Failed; only ResumeRefused, Phase,
Step and Checkpointed events of that job come before it. Ready and Died speak of the child process
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded. ``libraries`` maps names to versions; ``device`` is its own name.

    ``fingerprint`` names all that must be equal for two renders to be equal bit for bit.
    """

    pid: int
    device: str
    device_name: str
    dtype: str
    model: str
    libraries: dict[str, str]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Phase:
    """The job entered ``phase``: encoding_prompt, denoising, decoding or encoding."""

    job_id: str
    phase: str


@dataclass(frozen=True, slots=True)
class Step:
    """Denoising step ``step`` of ``total`` is finished on the device, not merely enqueued.

    ``seconds_per_step`` is what this step took; ``gpu_utilisation`` is 0 to 1, None where the
    device does not say.
    """

    job_id: str
    step: int
    total: int
    phase: str
    seconds_per_step: float
    gpu_utilisation: float | None


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """``path`` holds the latents after ``step`` of ``total`` denoising steps, durable.

    ``conditioning`` holds what the text encoder made of the prompts, which all checkpoints of one
    run share; it comes with the first of them alone, and never from a renderer without a text
    encoder. The files belong to whoever receives this event: the renderer never touches them again,
    whatever becomes of the job. ``seconds`` is what they took to write, beside the denoising.
    """

    job_id: str
    step: int
    total: int
    path: Path
    conditioning: Path | None
    fingerprint: str
    seconds: float

    def discard(self) -> None:
        """Delete the files."""
        self.path.unlink(missing_ok=True)
        if self.conditioning is not None:
            self.conditioning.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ResumeRefused:
    """The checkpoint given with the job is none of this job and model: it begins at step 1.

    ``reason`` is for operators; it quotes nothing of the file.
    """

    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """``path`` holds the whole MP4, durable.

    ``frames_sha256`` is of the raw frames before encoding: uint8, T x H x W x 3, RGB.
    ``seconds`` is the time from the child's start on the job to its end. ``resumed_from`` is the
    number of denoising steps taken from a checkpoint; 0: none was.
    """

    job_id: str
    path: Path
    frames_sha256: str
    frames: int
    fps: int
    seconds: float
    resumed_from: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The render has stopped and the device is free; no file is left."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The job ended without a video, and no file is left.

    ``code`` is out_of_memory, render_crashed, render_stuck, bad_output, invalid_spec or
    model_unavailable. ``detail`` is for operators; it never holds a prompt.
    """

    job_id: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Died:
    """The child died with no job in hand; another is started, after ``retry_in`` seconds."""

    code: str
    detail: str
    retry_in: float


RenderEvent = (
    Ready | ResumeRefused | Phase | Step | Checkpointed | Rendered | Cancelled | Failed | Died
)
