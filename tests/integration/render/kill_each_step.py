"""A program: kills a job at each of its denoising steps, goes on, and says how it ended.

One line of JSON for each step: the step of the kill, the newest checkpoint that had been reported
durable by then, the one that was found, the steps that were then done, and whether the latents
equal those of an undisturbed run. Each run is a fork of one loaded process, so that a kill costs a
fraction of a second: python -m tests.integration.render.kill_each_step FOLDER STEPS EVERY
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from gpu_consumer.render import checkpoint, pipeline
from gpu_consumer.render.checkpoint import Conditioning
from gpu_consumer.render.checkpointing import Checkpoints, Plan
from gpu_consumer.render.job import RenderJob, Resume, conditioning_of
from tests.integration.render.checkpoints import FINGERPRINT, JOB, denoise, load


class Victim:
    """Runs of one job, each in a process of its own."""

    def __init__(self, folder: Path, steps: int, every: int) -> None:
        self.pipe: Any = load(folder)
        self.job: RenderJob = replace(JOB, num_inference_steps=steps)
        self.begin: Conditioning = pipeline.encode_prompt(self.pipe, self.job)
        self.whole = denoise(self.pipe, self.job, self.begin)
        self.folder, self.plan = folder, Plan(every, 3600.0)

    def killed_at(self, step: int, out: Path) -> int:
        """Runs until ``step`` is done and dies of SIGKILL; the newest checkpoint it reported."""
        status, said = _forked(lambda tell: self._until(step, out, tell))
        assert os.WIFSIGNALED(status), status
        assert os.WTERMSIG(status) == signal.SIGKILL
        return max(said, default=0)

    def resumed(self, found: Path | None) -> tuple[int, bool]:
        """Goes on from ``found`` to the end: steps done, and whether the latents are the same."""
        status, said = _forked(lambda tell: self._to_the_end(found, tell))
        assert status == 0, status
        return len(said) - 1, said[-1] == 0

    def _until(self, last: int, out: Path, tell: Callable[[int], None]) -> None:
        shared = Checkpoints(self.plan, FINGERPRINT)
        saved = shared.of(self.job, out, self.begin, lambda step, _seconds: tell(step))

        def on_step(step: int, latents: torch.Tensor) -> None:
            saved.offer(step, latents)
            if step == last:
                os.kill(os.getpid(), signal.SIGKILL)

        denoise(self.pipe, self.job, self.begin, on_step)

    def _to_the_end(self, found: Path | None, tell: Callable[[int], None]) -> None:
        expected = checkpoint.layout(self.pipe, self.job)
        begin = None
        if found is not None:
            resume = Resume(found, conditioning_of(found.parent / "out.mp4"))
            begin = checkpoint.read(resume, self.job, expected, FINGERPRINT)
        latents = denoise(
            self.pipe, self.job, begin or self.begin, lambda step, _latents: tell(step)
        )
        tell(0 if torch.equal(latents, self.whole) else 255)


def _forked(run: Callable[[Callable[[int], None]], None]) -> tuple[int, list[int]]:
    """Status of a fork that does ``run``, and the bytes that it told."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        _child(run, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = list(pipe.read())
    return os.waitpid(pid, 0)[1], said


def _child(run: Callable[[Callable[[int], None]], None], writing: int) -> NoReturn:
    status = 1
    try:
        run(lambda number: _tell(writing, number))
        status = 0
    finally:
        os._exit(status)


def _tell(writing: int, number: int) -> None:
    os.write(writing, bytes([number]))


def _step(path: Path) -> int:
    return int(path.suffixes[-2][1:])


def main() -> None:
    """One line for each step."""
    folder, steps, every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    victim = Victim(folder, steps, every)
    for step in range(1, steps + 1):
        work = folder / f"killed-{step}"
        work.mkdir()
        reported = victim.killed_at(step, work / "out.mp4")
        found = max(work.glob("out.[0-9]*.safetensors"), key=_step, default=None)
        done, equal = victim.resumed(found)
        line = {
            "killed": step,
            "reported": reported,
            "found": 0 if found is None else _step(found),
            "done": done,
            "equal": equal,
        }
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
