"""One attempt at a job, from its Assign to its commit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from opentelemetry.trace import Span

from gpu_consumer.render.job import RenderJob
from infra.telemetry import begin_span, traceparent
from rust_guard import Claim, Conditioning
from schemas.job import FPS
from schemas.records import Assignment, Job


class Phase(Enum):
    """Where an attempt is."""

    CLAIMING = "claiming"
    RENDERING = "rendering"
    SEALING = "sealing"


@dataclass(slots=True)
class Attempt:
    """What the slot works on.

    Attributes:
        n: Assignment number.
        number: Attempt number of the job, from 1.
        job: The job.
        offset: Of the Assign in the slot's log.
        pool_incarnation: Keeps the claims of a recreated cluster apart.
        span: Covers the attempt; ends with it.
        phase: Where it is.
        cancelled: Its owner asked to stop it.
        claim: Proof of ownership, once claimed.
        frames_sha256: Of the raw frames, once rendered.
        resumed_from: Denoising steps that a checkpoint held.
        steps_found: Denoising steps in the store when its child was launched; None: it was not.
        steps_stored: Denoising steps in the store now, as far as they are this process's or found.
        checkpointed: The last checkpoint before a hand-over has been made.
        conditioning: A file of ours that the store does not have yet: what checkpoints share.
        shared: The same, once it is stored.
    """

    n: int
    number: int
    job: Job
    offset: int
    pool_incarnation: str
    span: Span
    phase: Phase = Phase.CLAIMING
    cancelled: bool = False
    claim: Claim | None = None
    frames_sha256: str | None = None
    resumed_from: int = 0
    steps_found: int | None = None
    steps_stored: int = 0
    checkpointed: bool = False
    conditioning: Path | None = None
    shared: Conditioning | None = None

    @classmethod
    def of(cls, order: Assignment, job: Job, offset: int, parent: str | None) -> Attempt:
        """Begin the attempt that an Assign at ``offset`` asks for, under its traceparent."""
        span = begin_span("render job", parent, job_id=order.job_id, attempt=order.attempt)
        return cls(order.n, order.attempt, job, offset, order.pool_incarnation, span)

    @property
    def got_further(self) -> bool:
        """Whether it has stored denoising steps of its own."""
        return self.steps_found is not None and self.steps_stored > self.steps_found

    @property
    def stored(self) -> int | None:
        """Denoising steps in the store, once its child is launched."""
        return None if self.steps_found is None else self.steps_stored

    @property
    def traceparent(self) -> str | None:
        """The trace that the attempt's records travel under."""
        return traceparent(self.span)

    def file(self, folder: Path) -> Path:
        """Where the render puts its video."""
        return folder / f"{self.job.job_id}-{self.number}.mp4"

    def resume_files(self, folder: Path) -> tuple[Path, Path]:
        """Where a checkpoint to go on from, and what it shares with others, are written."""
        stem = f"{self.job.job_id}-{self.number}.resume"
        return folder / f"{stem}.safetensors", folder / f"{stem}.conditioning.safetensors"

    def render_job(self) -> RenderJob:
        """The attempt as the renderer takes it."""
        spec = self.job.spec
        return RenderJob(
            job_id=self.job.job_id,
            prompt=spec.prompt,
            negative_prompt=spec.negative_prompt,
            width=spec.width,
            height=spec.height,
            num_frames=spec.num_frames,
            num_inference_steps=spec.num_inference_steps,
            guidance_scale=spec.guidance_scale,
            seed=spec.seed,
            fps=FPS,
        )
