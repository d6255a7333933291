"""A renderer that says what it is: no model, a seeded pattern, milliseconds a job.

For load and storms, where thousands of jobs must go through everything that surrounds a render:
process, pipes, phases, steps, cancel, checkpoints, a real MP4. Each step mixes the latents with
noise of its own, so a step that is skipped, repeated or begun from other latents shows in the
frames. Runs in the render child; imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpu_consumer.render import encode, lock, standin_checkpoint
from gpu_consumer.render.cadence import Cadence
from gpu_consumer.render.checkpoint_file import CheckpointRefused
from gpu_consumer.render.encode import Frame
from gpu_consumer.render.failures import Interrupted, InvalidSpec
from gpu_consumer.render.frame_digest import FrameDigest
from gpu_consumer.render.job import (
    RenderJob,
    Resume,
    checkpoint_of,
    faults,
    unfinished_checkpoint,
)
from gpu_consumer.render.parent import Parent
from gpu_consumer.render.renderings import Renderings
from gpu_consumer.render.standin_checkpoint import Latents
from infra.settings import STAND_IN

DEVICE: Final = f"{STAND_IN} (no model)"
LIBRARIES: Final = ("av", "numpy")
#: Latents have Mochi-1's shape: channels, frames and pixels a latent frame and side.
CHANNELS: Final = 12
FRAMES: Final = 6
SIDE: Final = 8


def load(parent: Parent, wanted: dict[str, Any]) -> StandIn:
    """Takes the slot's lock and says that it is ready, and that it is no model.

    Raises:
        ModelUnavailable: another process renders for this slot.
    """
    slot, work_dir = wanted["slot"], Path(wanted["work_dir"])
    # The lock lives as long as the process: its descriptor is never closed.
    lock.take(work_dir / f"slot-{slot}.lock", DEVICE, time.monotonic() + lock.WAIT)
    libraries = {name: version(name) for name in LIBRARIES}
    fingerprint = _fingerprint(libraries)
    parent.say(
        "ready",
        pid=os.getpid(),
        device="none",
        device_name=DEVICE,
        dtype="float32",
        model=STAND_IN,
        libraries=libraries,
        fingerprint=fingerprint,
    )
    plan = (wanted["checkpoint_every_steps"], wanted["checkpoint_mtbf"])
    return StandIn(parent, wanted["stand_in_step"], plan, fingerprint)


class StandIn(Renderings):
    """Renders patterns."""

    def __init__(
        self, parent: Parent, step: float, plan: tuple[int | None, float], fingerprint: str
    ) -> None:
        """A step takes ``step`` s; ``plan``: steps between checkpoints, s between failures."""
        super().__init__(parent)
        self._step, self._plan, self._fingerprint = step, plan, fingerprint

    def _render(self, run: int, job: RenderJob, out: Path, resume: Resume | None) -> dict[str, Any]:
        parent, since = self._parent, time.monotonic()
        if wrong := faults(job):
            raise InvalidSpec("; ".join(wrong))
        begun = self._begin(run, job, resume)
        latents = self._denoise(run, job, out, begun)
        for phase in ("decoding", "encoding"):
            parent.alive(run)
            parent.say("phase", run=run, phase=phase)
        digest = FrameDigest()
        shown = digest.over(frames(latents, job), lambda: parent.alive(run))
        encode.encode(shown, out, width=job.width, height=job.height, fps=job.fps)
        return {
            "frames_sha256": digest.hexdigest(),
            "frames": digest.count,
            "seconds": time.monotonic() - since,
            "resumed_from": begun[0],
        }

    def _begin(self, run: int, job: RenderJob, resume: Resume | None) -> tuple[int, Latents]:
        if resume is not None:
            try:
                return standin_checkpoint.read(
                    resume.checkpoint, job, shape(job), self._fingerprint
                )
            except CheckpointRefused as refused:
                self._parent.say("refused", run=run, reason=str(refused))
        self._parent.say("phase", run=run, phase="encoding_prompt")
        return 0, noise(job, 0)

    def _denoise(self, run: int, job: RenderJob, out: Path, begun: tuple[int, Latents]) -> Latents:
        parent, (done, latents) = self._parent, begun
        every, mtbf = self._plan
        cadence = Cadence(every_steps=every, mtbf=mtbf, step=done, now=time.monotonic())
        parent.say("phase", run=run, phase="denoising")
        for step in range(done + 1, job.num_inference_steps + 1):
            if parent.cancelled(run):
                raise Interrupted
            since = time.monotonic()
            latents = stepped(latents, job, step)
            time.sleep(self._step)
            now = time.monotonic()
            parent.say(
                "step",
                run=run,
                step=step,
                total=job.num_inference_steps,
                seconds=now - since,
                utilisation=None,
            )
            if parent.checkpoint_wanted(run) or cadence.due(step, now):
                cadence.taken(step, now)
                self._save(run, job, out, step, latents)
                cadence.wrote(time.monotonic() - now)
        return latents

    def _save(self, run: int, job: RenderJob, out: Path, step: int, latents: Latents) -> None:
        since, part = time.monotonic(), unfinished_checkpoint(out)
        about = standin_checkpoint.metadata(job, step, self._fingerprint)
        try:
            standin_checkpoint.write(checkpoint_of(out, step), part, latents, about)
        except OSError:  # it costs nothing but itself
            part.unlink(missing_ok=True)
            return
        self._parent.say("checkpointed", run=run, step=step, seconds=time.monotonic() - since)


def shape(job: RenderJob) -> tuple[int, ...]:
    """Of the job's latents: 1 x 12 x (frames-1)/6+1 x height/8 x width/8."""
    size = ((job.num_frames - 1) // FRAMES + 1, job.height // SIDE, job.width // SIDE)
    return (1, CHANNELS, *size)


def noise(job: RenderJob, step: int) -> Latents:
    """What step ``step`` adds: -1 to 1, from all that decides the picture; the same anywhere."""
    spec = json.dumps([*astuple(job)[1:], step]).encode()
    drawn = hashlib.shake_256(spec).digest(2 * int(np.prod(shape(job))))
    whole = np.frombuffer(drawn, "<i2").astype(np.float32)
    return (whole / np.float32(2**15)).reshape(shape(job))


def stepped(latents: Latents, job: RenderJob, step: int) -> Latents:
    """The latents after ``step`` steps, from those before it."""
    return latents * np.float32(0.75) + noise(job, step) * np.float32(0.25)


def frames(latents: Latents, job: RenderJob) -> Iterator[Frame]:
    """The job's frames, uint8, H x W x 3: squares of 8 pixels, every channel in them."""
    planes = latents[0].reshape(3, CHANNELS // 3, *latents.shape[2:])
    colours = (planes[:, 0] + planes[:, 1]) + (planes[:, 2] + planes[:, 3])
    levels = np.clip((colours + np.float32(1)) * np.float32(127.5), 0, 255).astype(np.uint8)
    squares = levels.transpose(1, 2, 3, 0).repeat(SIDE, axis=1).repeat(SIDE, axis=2)
    for index in range(job.num_frames):
        yield np.ascontiguousarray(squares[(index + FRAMES - 1) // FRAMES])


def _fingerprint(libraries: dict[str, str]) -> str:
    parts = {"model": STAND_IN, "weights": "none", "dtype": "float32", "device": DEVICE}
    parts |= libraries | {"cpu": platform.machine()}
    return ";".join(f"{name}={value}" for name, value in parts.items())
