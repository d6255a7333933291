"""Mochi-1 loaded once, rendering job after job. Runs in the render child."""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from gpu_consumer.render import checkpoint, encode, lock, pipeline
from gpu_consumer.render import device as devices
from gpu_consumer.render.checkpoint import Conditioning, State
from gpu_consumer.render.checkpoint_file import CheckpointRefused
from gpu_consumer.render.checkpointing import Checkpoints, JobCheckpoints, Plan
from gpu_consumer.render.fingerprint import fingerprint, folder_of
from gpu_consumer.render.frame_digest import FrameDigest
from gpu_consumer.render.job import RenderJob, Resume
from gpu_consumer.render.nvml import Utilisation
from gpu_consumer.render.parent import Parent
from gpu_consumer.render.renderings import Renderings

LIBRARIES: Final = ("torch", "diffusers", "transformers", "av", "numpy")


def load(parent: Parent, wanted: dict[str, Any]) -> MochiRenderings:
    """Takes the device, loads the model, and says that it is ready.

    Raises:
        Exception: the device is not there or taken, or the model cannot be read.
    """
    _make_repeatable()
    slot, model = wanted["slot"], wanted["model"]
    device = devices.choose(wanted["device"], slot, tiny=model == "tiny")
    # The lock lives as long as the process: its descriptor is never closed.
    devices.hold(device, slot, Path(wanted["work_dir"]), time.monotonic() + lock.WAIT)
    pipe = pipeline.load(model, Path(wanted["model_dir"]), device)
    libraries = {name: version(name) for name in LIBRARIES}
    if torch.version.cuda:
        libraries["cuda"] = torch.version.cuda
    folder = folder_of(model, Path(wanted["model_dir"]))
    print_ = fingerprint(model, folder, device, libraries)
    parent.say(
        "ready",
        pid=os.getpid(),
        device=str(device.torch),
        device_name=device.name,
        dtype=str(device.dtype).removeprefix("torch."),
        model=model,
        libraries=libraries,
        fingerprint=print_,
    )
    plan = Plan(wanted["checkpoint_every_steps"], wanted["checkpoint_mtbf"])
    return MochiRenderings(parent, pipe, device, Checkpoints(plan, print_))


class MochiRenderings(Renderings):
    """Renders jobs with one loaded model."""

    def __init__(
        self, parent: Parent, pipe: Any, device: devices.Device, checkpoints: Checkpoints
    ) -> None:
        super().__init__(parent)
        self._pipe, self._device = pipe, device
        self._checkpoints = checkpoints
        self._utilisation = Utilisation(device.uuid)

    def _render(self, run: int, job: RenderJob, out: Path, resume: Resume | None) -> dict[str, Any]:
        parent, started = self._parent, time.monotonic()

        def alive() -> None:
            parent.alive(run)

        def written(step: int, seconds: float) -> None:
            parent.say("checkpointed", run=run, step=step, seconds=seconds)

        begin = self._begin(run, job, resume)
        with self._checkpoints.of(job, out, begin, written) as saved:
            latents = self._denoise(run, job, begin, saved)
            parent.say("phase", run=run, phase="decoding")
            video = pipeline.decode(self._pipe, latents, job, alive)
            self._device.settle()
            parent.say("phase", run=run, phase="encoding")
            digest = FrameDigest()
            shown = digest.over(pipeline.frames(video), alive)
            encode.encode(shown, out, width=job.width, height=job.height, fps=job.fps)
        return {
            "frames_sha256": digest.hexdigest(),
            "frames": digest.count,
            "seconds": time.monotonic() - started,
            "resumed_from": begin.step if isinstance(begin, State) else 0,
        }

    def _begin(self, run: int, job: RenderJob, resume: Resume | None) -> State | Conditioning:
        pipeline.check(job)
        if resume is not None:
            expected = checkpoint.layout(self._pipe, job)
            try:
                return checkpoint.read(resume, job, expected, self._checkpoints.fingerprint)
            except CheckpointRefused as refused:
                self._parent.say("refused", run=run, reason=str(refused))
        self._parent.say("phase", run=run, phase="encoding_prompt")
        return pipeline.encode_prompt(self._pipe, job)

    def _denoise(
        self, run: int, job: RenderJob, begin: State | Conditioning, saved: JobCheckpoints
    ) -> torch.Tensor:
        parent = self._parent

        def on_step(step: int, seconds: float, latents: torch.Tensor) -> None:
            parent.say(
                "step",
                run=run,
                step=step,
                total=job.num_inference_steps,
                seconds=seconds,
                utilisation=self._utilisation.read(),
            )
            saved.offer(step, latents, wanted=parent.checkpoint_wanted(run))

        parent.say("phase", run=run, phase="denoising")
        return pipeline.denoise(
            self._pipe,
            job,
            begin,
            settle=self._device.settle,
            on_step=on_step,
            stopped=lambda: parent.cancelled(run),
        )


def _make_repeatable() -> None:
    """The same spec gives the same bits again on the same kind of device."""
    # The number of threads decides the order of sums; it must not follow the machine.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
