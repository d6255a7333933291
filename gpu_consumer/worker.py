"""The loop of a slot: orders in, renders out, one commit a job.

The loop never blocks on a render, an upload or a claim: the render runs in its child process, the
guard's calls on one worker thread. It alone polls Kafka and beats, so a beat means that it turns.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import stamina
from confluent_kafka import Message

import rust_guard
from gpu_consumer import metrics
from gpu_consumer.attempt import Attempt, Phase
from gpu_consumer.render import events
from gpu_consumer.render.renderer import Renderer
from gpu_consumer.slot_log import SlotLog
from gpu_consumer.voice import Voice
from infra.crash import crash_point
from infra.kafka import Outgoing
from infra.settings import Settings
from infra.telemetry import context_of, log, span, traceparent_of
from schemas.codec import Codec
from schemas.job import FPS
from schemas.reasons import REASONS
from schemas.records import Artifact, Assignment, JobProgress, Reason

_IDLE_WAIT: Final = 0.1
_BUSY_WAIT: Final = 0.02
#: A store that is away for less costs nothing but the wait.
_SEAL_PATIENCE: Final = 300.0

#: What the guard's thread brings back: a claim with what is already sealed, or a sealed video.
Guarded = tuple[rust_guard.Claim, rust_guard.Artifact | None] | rust_guard.Artifact


class OrderError(Exception):
    """The slot's log holds an order that cannot be: halt instead of losing it."""


class Worker:
    """Works for one opening of one slot, until stopped."""

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        slot_log: SlotLog,
        renderer: Renderer,
        guard: rust_guard.Guard,
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._log = slot_log
        self._voice = Voice(settings, codec, slot_log.incarnation)
        self._renderer = renderer
        self._guard = guard
        self._thread = ThreadPoolExecutor(1, "guard")
        self._future: Future[Guarded] | None = None
        self._attempt: Attempt | None = None
        self._next_beat = 0.0
        self._stopping = False

    def stop(self) -> None:
        """Leave the loop at its next turn; the job in hand is resumed by whoever comes next."""
        self._stopping = True

    def run(self, device: str) -> None:
        """Open the slot and work.

        Args:
            device: What renders, for people to read.

        Raises:
            FencedError: the slot has been taken.
            TransactionError: Kafka was away for too long.
            KafkaException: the slot's log cannot be read.
            OrderError, CodecError: the slot's log holds what this version cannot read.
        """
        self._log.take()
        done = self._log.done_through
        self._log.commit([self._voice.opened(device), self._voice.free(done)])
        self._log.start_reading()
        log().info("slot.opened", slot=self._settings.slot, done_through=done)
        while not self._stopping:
            self._turn()

    def close(self) -> None:
        """Stop the render and let go of everything; commits nothing."""
        self._renderer.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._log.close()

    def _turn(self) -> None:
        self._beat()
        message = self._log.poll(0 if self._attempt else _IDLE_WAIT)
        if message is not None:
            self._order(message)
        busy = self._attempt is not None
        for event in self._renderer.poll(_BUSY_WAIT if busy else 0.0):
            self._rendered(event)
        if self._future is not None and self._future.done():
            self._guarded(self._future)

    def _beat(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + self._settings.beat_interval
            self._voice.beat(self._attempt.job.job_id if self._attempt else None)

    # Orders

    def _order(self, message: Message) -> None:
        order = self._codec.decode(Assignment, bytes(message.value() or b""))
        crash_point("gpu_after_poll")
        if order.kind == "Assign":
            self._assign(order, message)
        elif order.kind == "Cancel":
            if self._attempt is not None and self._attempt.n == order.n:
                self._cancel(self._attempt)
        else:
            raise OrderError(f"unknown kind of order: {order.kind[:40]}")

    def _assign(self, order: Assignment, message: Message) -> None:
        if order.n <= self._log.done_through:
            return
        if self._attempt is not None or order.n != self._log.done_through + 1 or order.job is None:
            raise OrderError(f"assignment {order.n} after {self._log.done_through}")
        parent = traceparent_of(message.headers())
        attempt = Attempt.of(order, order.job, int(message.offset() or 0), parent)
        self._attempt = attempt
        self._future = self._thread.submit(self._claim, attempt)

    def _cancel(self, attempt: Attempt) -> None:
        attempt.cancelled = True
        if attempt.phase is Phase.RENDERING:
            self._renderer.cancel()

    # The guard's thread

    def _claim(self, attempt: Attempt) -> Guarded:
        with span("claim", parent=context_of(attempt.traceparent)):
            record = rust_guard.Record(self._log.topic, self._settings.slot, attempt.offset)
            claim = self._guard.claim(
                attempt.pool_incarnation,
                attempt.job.tenant_id,
                attempt.job.job_id,
                attempt.number,
                record,
                attempt.job.spec_digest,
            )
            return claim, self._guard.sealed(claim)

    def _seal(self, attempt: Attempt, path: Path) -> Guarded:
        crash_point("gpu_before_upload")
        spec = attempt.job.spec
        if attempt.claim is None:
            raise OrderError("sealing without a claim")
        with span("seal", parent=context_of(attempt.traceparent)):
            for again in stamina.retry_context(
                rust_guard.StoreUnavailable, attempts=None, timeout=_SEAL_PATIENCE
            ):
                with again:  # a render is worth more than waiting for the store
                    sealed = self._guard.seal(
                        attempt.claim, path, spec.num_frames, FPS, spec.width, spec.height
                    )
        path.unlink(missing_ok=True)
        crash_point("gpu_after_upload")
        return sealed

    def _guarded(self, future: Future[Guarded]) -> None:
        self._future = None
        attempt = self._in_hand()
        try:
            result = future.result()
        except rust_guard.GuardError as error:
            duplicate = isinstance(error, rust_guard.DuplicateClaim)
            log().warning("attempt.guard_failed", job_id=attempt.job.job_id, code=error.code)
            self._fail(attempt, error.code, "duplicate" if duplicate else "failed")
            return
        if isinstance(result, tuple):
            attempt.claim, adopted = result
            self._claimed(attempt, adopted)
        else:
            self._complete(attempt, result)

    # The way of an attempt

    def _claimed(self, attempt: Attempt, adopted: rust_guard.Artifact | None) -> None:
        crash_point("gpu_after_claim")
        if adopted is not None:
            log().info("attempt.adopted", job_id=attempt.job.job_id, attempt=attempt.number)
            self._complete(attempt, adopted)
            return
        if attempt.cancelled:
            self._end_cancelled(attempt)
            return
        attempt.phase = Phase.RENDERING
        self._renderer.submit(attempt.render_job(), attempt.file(self._settings.work_dir))
        self._log.commit(self._voice.event("Started", attempt))  # while the child renders

    def _rendered(self, event: events.RenderEvent) -> None:
        attempt = self._attempt
        if isinstance(event, events.Ready | events.Died):
            log().info("renderer.state", state=type(event).__name__)
            return
        if attempt is None or event.job_id != attempt.job.job_id:
            return
        match event:
            case events.Step() | events.Phase():
                crash_point("gpu_mid_render")
                self._progress(attempt, event)
            case events.Rendered():
                attempt.phase = Phase.SEALING
                attempt.frames_sha256 = event.frames_sha256
                metrics.RENDER_SECONDS.observe(event.seconds)
                self._future = self._thread.submit(self._seal, attempt, event.path)
            case events.Cancelled():
                self._end_cancelled(attempt)
            case events.Failed():
                log().warning("attempt.failed", job_id=attempt.job.job_id, code=event.code)
                if attempt.cancelled:
                    self._end_cancelled(attempt)
                else:
                    self._fail(attempt, event.code)

    def _progress(self, attempt: Attempt, event: events.Step | events.Phase) -> None:
        total = attempt.job.spec.num_inference_steps
        step, eta, use = 0, None, None
        if isinstance(event, events.Step):
            step, use = event.step, event.gpu_utilisation
            eta = (total - step) * event.seconds_per_step if step > 1 else None
        elif event.phase in {"decoding", "encoding"}:
            step = total
        self._voice.progress(
            JobProgress(
                job_id=attempt.job.job_id,
                tenant_id=attempt.job.tenant_id,
                attempt=attempt.number,
                slot=self._settings.slot,
                phase=event.phase,
                step=step,
                total=total,
                gpu_utilisation=use,
                eta_s=eta,
            )
        )

    # Ends

    def _complete(self, attempt: Attempt, sealed: rust_guard.Artifact) -> None:
        artifact = Artifact(
            bucket=self._settings.s3_bucket,
            key=sealed.key,
            sha256=sealed.sha256,
            size=sealed.size,
            frames=sealed.frames,
            fps=sealed.fps,
            width=sealed.width,
            height=sealed.height,
            duration_s=sealed.duration_s,
            frames_sha256=attempt.frames_sha256,
        )
        self._end(attempt, "completed", self._voice.event("Completed", attempt, artifact=artifact))

    def _end_cancelled(self, attempt: Attempt) -> None:
        why = Reason(code="cancelled_by_owner", message=REASONS["cancelled_by_owner"].title)
        self._end(attempt, "cancelled", self._voice.event("Cancelled", attempt, reason=why))

    def _fail(self, attempt: Attempt, code: str, outcome: str = "failed") -> None:
        """Give the job back to the scheduler, which decides what becomes of it."""
        shown = REASONS.get(code, REASONS["render_crashed"])
        self._end(attempt, outcome, [], Reason(code=code, message=f"{shown.title}. {shown.remedy}"))

    def _end(
        self,
        attempt: Attempt,
        outcome: str,
        events_: list[Outgoing],
        reason: Reason | None = None,
    ) -> None:
        crash_point("gpu_before_commit")
        facts = [self._voice.ended(attempt, outcome, reason), self._voice.free(attempt.n)]
        with span("commit", parent=context_of(attempt.traceparent)):
            self._log.commit([*events_, *facts], attempt.n, attempt.offset + 1)
        crash_point("gpu_after_commit")
        self._attempt = None
        attempt.span.set_attribute("outcome", outcome)
        attempt.span.end()
        metrics.ATTEMPTS.labels(outcome).inc()
        log().info(
            "attempt.ended", job_id=attempt.job.job_id, attempt=attempt.number, outcome=outcome
        )
        if attempt.claim is not None and outcome in {"completed", "cancelled"}:
            self._thread.submit(self._release, attempt.claim)

    def _release(self, claim: rust_guard.Claim) -> None:
        try:
            self._guard.release(claim)
        except rust_guard.GuardError as error:
            log().warning("claim.not_released", job_id=claim.job_id, code=error.code)

    def _in_hand(self) -> Attempt:
        if self._attempt is None:
            raise OrderError("the guard answered for no attempt")
        return self._attempt
