"""Checkpoints beside the denoising loop, which they never hold up. Runs in the render child.

The loop pays for a copy. All else is done by one thread; while it is at work, a checkpoint that is
due is put off to the next step instead of queued.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from gpu_consumer.render import checkpoint
from gpu_consumer.render.cadence import FIRST_GUESS, Cadence
from gpu_consumer.render.checkpoint import Conditioning, State
from gpu_consumer.render.job import (
    RenderJob,
    checkpoint_of,
    conditioning_of,
    unfinished_checkpoint,
)

Write = Callable[[Path, Path, checkpoint.Tensors, dict[str, str]], None]
#: Step and seconds of a checkpoint that is durable.
Written = Callable[[int, float], None]
#: What waits for a copy to be whole.
Wait = Callable[[], None]
Copy = tuple[torch.Tensor, Wait]


class Writer:
    """One thread that writes one thing at a time."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._busy = threading.Lock()
        threading.Thread(target=self._work, name="checkpoints", daemon=True).start()

    def busy(self) -> bool:
        """Whether it is at work."""
        return self._busy.locked()

    def take(self, task: Callable[[], None]) -> bool:
        """Has ``task`` done, unless another is under way."""
        if not self._busy.acquire(blocking=False):
            return False
        self._tasks.put(task)
        return True

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task()
            except Exception as error:  # noqa: BLE001 (a checkpoint that fails costs no job)
                code = getattr(error, "errno", None)
                sys.stderr.write(f"checkpoint not written: {type(error).__name__} {code}\n")
            finally:
                # Whoever holds a tensor holds memory of the device.
                del task
                self._busy.release()


class Copies:
    """Copies of tensors in the host's memory, made beside the device's own work."""

    def __init__(self) -> None:
        self._stream: Any = None

    def of(self, tensor: torch.Tensor) -> tuple[torch.Tensor, Wait]:
        """A copy of ``tensor``, and what waits until it is whole. Never waits itself."""
        if tensor.device.type != "cuda":
            return tensor.detach().clone(memory_format=torch.contiguous_format), lambda: None
        cuda: Any = torch.cuda
        self._stream = self._stream or cuda.Stream(tensor.device)
        source = tensor.detach().contiguous()
        self._stream.wait_stream(cuda.current_stream(tensor.device))
        with cuda.stream(self._stream):
            copy = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
            copy.copy_(source, non_blocking=True)
            done = cuda.Event()
            done.record(self._stream)
        # The allocator must not give the memory away before the copy has been made.
        source.record_stream(self._stream)
        return copy, done.synchronize


@dataclass(frozen=True, slots=True)
class Plan:
    """How often: every so many steps, or (None) as a mean time between failures in s has it."""

    every_steps: int | None
    mtbf: float


class Checkpoints:
    """What all jobs of this process share: the thread, the stream, and how long a write takes."""

    def __init__(self, plan: Plan, fingerprint: str, write: Write = checkpoint.write) -> None:
        """``write`` makes a file durable: path, its name until then, tensors, metadata."""
        self.plan, self.fingerprint, self.write = plan, fingerprint, write
        self.writer, self.copies = Writer(), Copies()
        self.write_seconds = FIRST_GUESS

    def of(
        self, job: RenderJob, out: Path, begin: State | Conditioning, written: Written
    ) -> JobCheckpoints:
        """Those of ``job``, which goes on from ``begin``. ``written`` hears of each."""
        return JobCheckpoints(self, job, out, begin, written)


class JobCheckpoints:
    """Writes checkpoints of one job, until closed. Called by the loop's thread."""

    def __init__(
        self,
        shared: Checkpoints,
        job: RenderJob,
        out: Path,
        begin: State | Conditioning,
        written: Written,
    ) -> None:
        """As ``Checkpoints.of``."""
        self._shared, self._job, self._out, self._written = shared, job, out, written
        self._texts = begin.conditioning if isinstance(begin, State) else begin
        self._texts_written = False
        self._open, self._lock = True, threading.Lock()
        self._cadence = Cadence(
            every_steps=shared.plan.every_steps,
            mtbf=shared.plan.mtbf,
            step=begin.step if isinstance(begin, State) else 0,
            now=time.monotonic(),
            write_seconds=shared.write_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def offer(self, step: int, latents: torch.Tensor, *, wanted: bool = False) -> None:
        """The state after ``step`` steps, finished on the device: written if that is due.

        Args:
            step: steps done.
            latents: after them; may be changed once this has returned.
            wanted: somebody asks for it now, whatever it costs.
        """
        now = time.monotonic()
        if not (wanted or self._cadence.due(step, now)) or self._shared.writer.busy():
            return
        copies = self._shared.copies
        fresh = {} if self._texts_written else self._texts
        texts = {name: copies.of(one) for name, one in fresh.items() if one is not None}
        copy = copies.of(latents)
        if self._shared.writer.take(lambda: self._save(step, copy, texts)):
            self._cadence.taken(step, now)

    def close(self) -> None:
        """The job has ended: a write under way is for nothing, and leaves no file."""
        with self._lock:
            self._open = False

    def _save(self, step: int, latents: Copy, texts: dict[str, Copy]) -> None:
        for _, whole in (latents, *texts.values()):
            whole()
        if not self._open:
            return
        began, fingerprint = time.monotonic(), self._shared.fingerprint
        if texts:  # they do not change: written once a run
            about = checkpoint.conditioning_metadata(self._job, fingerprint)
            tensors = {name: copy for name, (copy, _) in texts.items()}
            self._write(conditioning_of(self._out), tensors, about)
        since = time.monotonic()
        about = checkpoint.metadata(self._job, step, fingerprint)
        self._write(checkpoint_of(self._out, step), {checkpoint.LATENTS: latents[0]}, about)
        # What the first one pays for the texts says nothing about the next.
        self._cadence.wrote(time.monotonic() - since)
        self._shared.write_seconds = self._cadence.write_seconds
        with self._lock:
            if self._open:
                self._texts_written = True
                self._written(step, time.monotonic() - began)
                return
        checkpoint_of(self._out, step).unlink(missing_ok=True)
        if texts:
            conditioning_of(self._out).unlink(missing_ok=True)

    def _write(self, path: Path, tensors: checkpoint.Tensors, about: dict[str, str]) -> None:
        part = unfinished_checkpoint(self._out)
        try:
            self._shared.write(path, part, tensors, about)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
