"""The parent's handle on Mochi-1: one child process that renders one job at a time.

Neither torch nor diffusers is imported here: whatever a render does, it does to the child.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final, Self

from gpu_consumer.render.events import (
    Cancelled,
    Checkpointed,
    Died,
    Failed,
    Ready,
    Rendered,
    RenderEvent,
    ResumeRefused,
)
from gpu_consumer.render.failures import classify_exit
from gpu_consumer.render.job import (
    RenderJob,
    Resume,
    checkpoint_of,
    conditioning_of,
    unfinished,
    unfinished_checkpoint,
)
from gpu_consumer.render.messages import (
    Failure,
    Finished,
    Message,
    Progress,
    Refused,
    Saved,
    Stopped,
    read,
)
from gpu_consumer.render.process import REAP, ChildProcess
from gpu_consumer.render.protocol import LineReader, ProtocolError, pack
from infra.settings import Settings

#: Seconds before a child that died without ever being ready is started again; doubled each time.
BACKOFF: Final = 1.0
MAX_BACKOFF: Final = 60.0


class Renderer:
    """Owns one render child and restarts it when it died.

    Nothing blocks: call ``poll`` in a loop. Not thread-safe, and the child dies with the *thread*
    that started it, so that thread must be the one that lives as long as the renderer.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts nothing yet. ``clock`` counts seconds."""
        self._settings = settings
        self._clock = clock
        self._child: ChildProcess | None = None
        self._lines = LineReader()
        self._ready = False
        self._excuse: Failure | None = None
        self._heard = 0.0
        self._start_at: float | None = None
        self._backoff = BACKOFF
        self._job: RenderJob | None = None
        self._out = Path()
        self._resume: Resume | None = None
        self._fingerprint = ""
        #: Checkpoints that are others' now, though their names are like ours.
        self._given: set[Path] = set()
        self._run = 0
        self._sent = self._cancelling = self._conditioned = False
        self._due: list[RenderEvent] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child, while there is one."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Starts the child if there is none; Ready follows once the model is loaded."""
        if self._child is None and (self._start_at is None or self._clock() >= self._start_at):
            self._spawn()

    def submit(self, job: RenderJob, out: Path, resume: Resume | None = None) -> None:
        """Renders ``job`` into ``out``, now or as soon as the child is ready.

        Args:
            job: what to render.
            out: where to; its checkpoints are written beside it, as ``STEM.STEP.safetensors`` and
                ``STEM.conditioning.safetensors``.
            resume: a checkpoint of this job to go on from; it stays the caller's, and must be there
                until the first Phase. If it does not fit, ResumeRefused says so and the job begins
                anew.

        Raises:
            RuntimeError: another job is in hand.
        """
        if self._job is not None:
            raise RuntimeError("a job is in hand: one at a time")
        self._job, self._out, self._resume = job, out, resume
        self._given = {path for path in self._given if path.exists()}
        if resume is not None:
            self._given |= {Path(path) for path in resume.absolute()}
        self._run += 1
        self._sent = self._cancelling = self._conditioned = False
        self.start()
        self._offer()

    def checkpoint(self) -> None:
        """Asks for a checkpoint after the step under way, as before a hand-over.

        Checkpointed follows, unless no step is left or another write is under way.
        """
        if self._sent and self._child is not None:
            self._child.send(pack("checkpoint", {"run": self._run}))

    def cancel(self) -> None:
        """Stops the job in hand within a step; Cancelled follows, or the end that came first."""
        if self._job is None or self._cancelling:
            return
        self._cancelling = True
        if self._sent and self._child is not None:
            self._child.send(pack("cancel", {"run": self._run}))
        else:
            self._end(Cancelled(self._job.job_id))

    def poll(self, timeout: float = 0.0) -> list[RenderEvent]:
        """What has happened; waits up to ``timeout`` s for the first event."""
        until = self._clock() + timeout
        while not self._due:
            if self._start_at is not None and self._clock() >= self._start_at:
                self._spawn()
            left = until - self._clock()
            if self._child is not None:
                self._listen(self._child, left)
            elif self._start_at is not None and left > 0:
                time.sleep(min(left, max(self._start_at - self._clock(), 0.0)))
            else:
                break
            if self._clock() >= until:
                break
        events, self._due = self._due, []
        return events

    def kill(self) -> None:
        """Ends the child at once and forgets its job without an event; ``start`` begins anew."""
        self._drop_child()
        self._start_at = None
        for event in self._due:
            if isinstance(event, Checkpointed):
                event.discard()
        self._due.clear()
        if self._job is not None:
            self._discard_files()
            self._discard_checkpoints()
            self._job = None

    def close(self) -> None:
        """Ends the child for good; may be called again."""
        self.kill()

    def _spawn(self) -> None:
        if self._child is not None:
            return
        self._start_at = None
        settings = self._settings
        try:
            self._child = ChildProcess()
        except OSError as error:
            self._lost("render_crashed", f"no process can be started (errno {error.errno})")
            return
        self._lines, self._ready, self._excuse = LineReader(), False, None
        self._heard = self._clock()
        wanted = {
            "model": settings.model,
            "model_dir": str(settings.model_dir.absolute()),
            "stand_in_step": settings.stand_in_step,
            "device": settings.device,
            "slot": settings.slot,
            "work_dir": str(settings.work_dir.absolute()),
            "checkpoint_every_steps": settings.checkpoint_every_steps,
            "checkpoint_mtbf": settings.checkpoint_mtbf,
        }
        self._child.send(pack("load", wanted))

    def _offer(self) -> None:
        """Gives a ready child the job that waits for it."""
        if self._child is None or not self._ready or self._job is None or self._sent:
            return
        fields = {
            "run": self._run,
            "job": asdict(self._job),
            "out": str(self._out.absolute()),
            "resume": None if self._resume is None else self._resume.absolute(),
        }
        try:
            line = pack("render", fields)
        except ValueError:
            self._end(Failed(self._job.job_id, "invalid_spec", "the prompts are too long"))
            return
        self._sent, self._heard = True, self._clock()
        self._child.send(line)

    def _listen(self, child: ChildProcess, timeout: float) -> None:
        deadline = self._deadline()
        if deadline is not None:
            timeout = min(timeout, deadline - self._clock())
        data = child.exchange(timeout)
        try:
            for fields in self._lines.feed(data or b""):
                self._heard = self._clock()
                self._take(read(fields))
                if self._child is not child:
                    return
        except ProtocolError as error:
            self._lost("render_crashed", f"the render process sent garbage: {error}")
            return
        if data is None:
            self._bury(child)
        elif not data and deadline is not None and self._clock() >= deadline:
            limit = self._settings.step_timeout if self._ready else self._settings.load_timeout
            self._lost("render_stuck", f"no sign of life for {limit:g} s")

    def _deadline(self) -> float | None:
        """When silence means that the child is stuck; None: an idle child may be silent."""
        if not self._ready:
            return self._heard + self._settings.load_timeout
        return self._heard + self._settings.step_timeout if self._sent else None

    def _take(self, message: Message) -> None:
        if isinstance(message, Ready):
            self._ready, self._backoff = True, BACKOFF
            self._fingerprint = message.fingerprint
            self._due.append(message)
            self._offer()
            return
        if isinstance(message, Failure) and message.run == 0:
            self._excuse = message
            return
        if message.run > self._run:
            raise ProtocolError("a message about a job of the future")
        if self._job is not None and self._sent and message.run == self._run:
            self._take_of(self._job, message)

    def _take_of(
        self, job: RenderJob, message: Progress | Saved | Refused | Stopped | Finished | Failure
    ) -> None:
        if isinstance(message, Progress):
            event = message.event(job.job_id)
            if event is not None:
                self._due.append(event)
        elif isinstance(message, Saved):
            self._due.append(self._saved(job, message))
        elif isinstance(message, Refused):
            self._due.append(ResumeRefused(job.job_id, message.reason))
        elif isinstance(message, Stopped):
            self._end(Cancelled(job.job_id))
        elif isinstance(message, Finished):
            self._end(self._finish(job, message))
        else:
            self._fail(job, message)

    def _saved(self, job: RenderJob, message: Saved) -> Checkpointed:
        if not 1 <= message.step <= job.num_inference_steps:
            raise ProtocolError("a checkpoint of no step")
        path, shared = checkpoint_of(self._out, message.step), conditioning_of(self._out)
        first, self._conditioned = not self._conditioned and shared.exists(), True
        self._given |= {path.absolute(), shared.absolute()}
        return Checkpointed(
            job_id=job.job_id,
            step=message.step,
            total=job.num_inference_steps,
            path=path,
            conditioning=shared if first else None,
            fingerprint=self._fingerprint,
            seconds=message.seconds,
        )

    def _finish(self, job: RenderJob, message: Finished) -> RenderEvent:
        if message.frames != job.num_frames:
            detail = f"{message.frames} frames instead of {job.num_frames}"
            return Failed(job.job_id, "bad_output", detail)
        return Rendered(
            job_id=job.job_id,
            path=self._out,
            frames_sha256=message.frames_sha256,
            frames=message.frames,
            fps=job.fps,
            seconds=message.seconds,
            resumed_from=message.resumed_from,
        )

    def _fail(self, job: RenderJob, failure: Failure) -> None:
        self._end(Failed(job.job_id, failure.code, failure.detail))
        if not failure.survived:
            # The child goes, as its memory may be harmed; a job that comes now must not go with it.
            self._drop_child()
            self._start_at = self._clock()

    def _bury(self, child: ChildProcess) -> None:
        """The child has closed its end: finds out why."""
        status = child.wait(REAP)
        if self._excuse is not None:
            code, detail = self._excuse.code, self._excuse.detail
        elif status is None:
            code, detail = "render_crashed", "the render process closed its pipe"
        else:
            code, detail = classify_exit(status, ready=self._ready)
        self._lost(code, detail)

    def _lost(self, code: str, detail: str) -> None:
        """There is no child any more, or must not be: ends its job and plans the next child."""
        was_ready = self._ready
        self._drop_child()
        retry_in = 0.0
        if not was_ready:
            retry_in, self._backoff = self._backoff, min(2 * self._backoff, MAX_BACKOFF)
        self._start_at = self._clock() + retry_in
        if self._job is None:
            self._due.append(Died(code, detail, retry_in))
        elif self._cancelling:
            self._end(Cancelled(self._job.job_id))
        else:
            self._end(Failed(self._job.job_id, code, detail))

    def _drop_child(self) -> None:
        if self._child is not None:
            self._child.kill()
        self._child, self._ready = None, False

    def _end(self, event: RenderEvent) -> None:
        if not isinstance(event, Rendered):
            self._discard_files()
        self._discard_checkpoints()
        self._due.append(event)
        self._job, self._sent, self._cancelling = None, False, False

    def _discard_files(self) -> None:
        if self._sent:
            for path in (self._out, unfinished(self._out)):
                path.unlink(missing_ok=True)

    def _discard_checkpoints(self) -> None:
        """Those that the child left behind without a word."""
        if self._sent and self._job is not None:
            unfinished_checkpoint(self._out).unlink(missing_ok=True)
            steps = range(1, self._job.num_inference_steps + 1)
            for path in (
                conditioning_of(self._out),
                *(checkpoint_of(self._out, step) for step in steps),
            ):
                if path.absolute() not in self._given:
                    path.unlink(missing_ok=True)
