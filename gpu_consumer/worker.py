"""The loop of a slot: orders in, renders out, one commit a job.

The loop never blocks on a render, an upload or a claim: the render runs in its child process, the
guard's calls on one worker thread. It alone polls Kafka and beats, so a beat means that it turns.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import stamina
from confluent_kafka import Message

import rust_guard
from gpu_consumer import metrics
from gpu_consumer.attempt import Attempt, Phase
from gpu_consumer.guard_thread import Claimed, GuardThread
from gpu_consumer.manifest import manifest
from gpu_consumer.quarantine import Quarantine
from gpu_consumer.render import events
from gpu_consumer.render.renderer import Renderer
from gpu_consumer.slot_log import FencedError, SlotLog
from gpu_consumer.voice import Voice
from infra.crash import crash_point
from infra.kafka import Outgoing
from infra.settings import Settings
from infra.telemetry import context_of, log, span, traceparent_of
from schemas.codec import Codec
from schemas.errors import RegistryUnavailable
from schemas.reasons import REASONS
from schemas.records import Artifact, Assignment, JobProgress, Reason
from schemas.topics import Topics

_IDLE_WAIT: Final = 0.1
_BUSY_WAIT: Final = 0.02
#: How long a slot whose model is loaded waits for the registry.
_PATIENCE: Final = 300.0
#: How long a slot that is told to stop waits for a last checkpoint.
_DRAIN: Final = 10.0


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
        self._guard = GuardThread(guard, slot_log.topic, settings.slot, settings.work_dir)
        self._quarantine = Quarantine(
            renderer, settings.work_dir, settings.quarantine_after, settings.quarantine_pause
        )
        self._ready: events.Ready | None = None
        self._future: Future[Claimed] | Future[rust_guard.Artifact] | None = None
        self._attempt: Attempt | None = None
        self._watcher = ThreadPoolExecutor(1, "watch")
        self._watch: Future[str] | None = None
        self._next_beat = 0.0
        self._said_steps: int | None = None
        self._next_watch = 0.0
        self._open = False
        self._stopping = False

    def stop(self) -> None:
        """Leave the loop soon; a render in hand is handed on by a checkpoint.

        Raises:
            SystemExit: the slot is not open yet, so there is nothing to hand on.
        """
        if not self._open:
            raise SystemExit(0)
        self._stopping = True

    def run(self, ready: events.Ready) -> None:
        """Open the slot and work.

        Args:
            ready: What the renderer said when its model was loaded.

        Raises:
            FencedError: the slot has been taken.
            TransactionError: Kafka was away for too long.
            KafkaException: the slot's log cannot be read.
            OrderError, CodecError: the slot's log holds what this version cannot read.
        """
        names = Topics(self._settings.topic_prefix).records_of_slot(self._settings.pool)
        for again in stamina.retry_context(RegistryUnavailable, attempts=None, timeout=_PATIENCE):
            with again:  # ending would cost the model that is loaded
                self._codec.warm(names)
        self._log.take()
        done = self._log.done_through
        self._ready = ready
        device = f"{ready.device_name} ({ready.dtype})"
        self._log.commit([self._voice.opened(device), self._voice.free(done)], part="gpu_opening")
        self._log.start_reading()
        self._open = True
        log().info("slot.opened", slot=self._settings.slot, done_through=done)
        while not self._stopping:
            self._turn()
        self._drain()

    def close(self) -> None:
        """Stop the render and let go of everything; commits nothing."""
        self._renderer.close()
        self._guard.close()
        self._watcher.shutdown(wait=True, cancel_futures=True)  # it uses the log's consumer
        self._log.close()

    def _turn(self) -> None:
        self._beat()
        self._watch_holder()
        message = self._log.poll(0 if self._attempt else _IDLE_WAIT)
        if message is not None:
            self._order(message)
        busy = self._attempt is not None
        for event in self._renderer.poll(_BUSY_WAIT if busy else 0.0):
            self._rendered(event)
        if self._future is not None and self._future.done():
            self._guarded(self._future)
        if self._quarantine.shut and self._quarantine.turn():
            self._log.commit([self._voice.free(self._log.done_through)])

    def _drain(self) -> None:
        """Hand a render on: its newest checkpoint stored, the job given back without a failure."""
        deadline = time.monotonic() + _DRAIN
        self._renderer.checkpoint()
        asked_at = self._attempt
        while self._attempt is not None and time.monotonic() < deadline:
            if self._attempt is not asked_at or self._handed_over(self._attempt):
                break
            self._turn()
        attempt = self._attempt
        if attempt is not None and attempt.phase is Phase.RENDERING and not attempt.cancelled:
            self._renderer.kill()
            self._commit_end(attempt, "preempted", [self._voice.ended(attempt, "preempted")])

    def _handed_over(self, attempt: Attempt) -> bool:
        return attempt.checkpointed and not self._guard.storing

    def _beat(self) -> None:
        """Now and then, and at once when a checkpoint has reached the store."""
        now = time.monotonic()
        steps = self._attempt.stored if self._attempt else None
        if now >= self._next_beat or steps not in {None, self._said_steps}:
            self._next_beat, self._said_steps = now + self._settings.beat_interval, steps
            self._voice.beat(self._attempt)

    def _watch_holder(self) -> None:
        """Notice a fence: what is rendered then is for nothing, and a free slot gets no work."""
        if self._watch is not None and self._watch.done():
            watch, self._watch = self._watch, None
            failed = watch.exception()
            if failed is None and watch.result() != self._log.incarnation:
                raise FencedError(f"slot {self._settings.slot} is held by {watch.result()}")
        now = time.monotonic()
        if self._watch is None and now >= self._next_watch:
            busy = self._attempt is not None
            pause = self._settings.beat_interval if busy else self._settings.beat_timeout / 3
            self._next_watch = now + pause
            self._watch = self._watcher.submit(self._log.holder)

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
        self._future = self._guard.claim(attempt, self._renderer_now().fingerprint)

    def _cancel(self, attempt: Attempt) -> None:
        attempt.cancelled = True
        if attempt.phase is Phase.RENDERING:
            self._renderer.cancel()

    # The guard's thread

    def _guarded(self, future: Future[Claimed] | Future[rust_guard.Artifact]) -> None:
        self._future = None
        attempt = self._in_hand()
        result: Claimed | rust_guard.Artifact
        try:
            result = future.result()
        except rust_guard.GuardError as error:
            duplicate = isinstance(error, rust_guard.DuplicateClaim)
            log().warning("attempt.guard_failed", job_id=attempt.job.job_id, code=error.code)
            self._fail(attempt, error.code, "duplicate" if duplicate else "failed")
            return
        if isinstance(result, Claimed):
            attempt.claim = result.claim
            self._claimed(attempt, result)
        else:
            self._complete(attempt, result)

    # The way of an attempt

    def _claimed(self, attempt: Attempt, found: Claimed) -> None:
        crash_point("gpu_after_claim")
        if found.adopted is not None:
            log().info("attempt.adopted", job_id=attempt.job.job_id, attempt=attempt.number)
            self._complete(attempt, found.adopted)
            return
        if attempt.cancelled:
            self._end_cancelled(attempt)
            return
        attempt.phase = Phase.RENDERING
        attempt.resumed_from = attempt.steps_found = attempt.steps_stored = found.step
        if found.resume is not None:
            log().info("attempt.resumed", job_id=attempt.job.job_id, step=found.step)
        out = attempt.file(self._settings.work_dir)
        self._renderer.submit(attempt.render_job(), out, found.resume)
        started = [*self._voice.event("Started", attempt), self._voice.living(attempt)]
        self._log.commit(started, part="gpu_started")  # while the child renders

    def _rendered(self, event: events.RenderEvent) -> None:
        attempt = self._attempt
        if self._quarantine.took(event):
            return
        if isinstance(event, events.Ready):
            self._ready = event
            return
        if isinstance(event, events.Died):
            log().warning("renderer.died", code=event.code, detail=event.detail)
            return
        if isinstance(event, events.Checkpointed):
            self._checkpointed(event)
            return
        if attempt is not None and event.job_id == attempt.job.job_id:
            self._went_on(attempt, event)

    def _went_on(self, attempt: Attempt, event: events.RenderEvent) -> None:
        match event:
            case events.Step() | events.Phase():
                crash_point("gpu_mid_render")
                self._progress(attempt, event)
            case events.Rendered():
                attempt.phase = Phase.SEALING
                attempt.frames_sha256 = event.frames_sha256
                metrics.RENDER_SECONDS.observe(event.seconds)
                metrics.STEPS_SAVED.inc(event.resumed_from)
                about = manifest(attempt, self._renderer_now())
                self._future = self._guard.seal(attempt, event.path, about)
            case events.ResumeRefused():
                attempt.resumed_from = attempt.steps_found = attempt.steps_stored = 0
                log().warning("resume.refused", job_id=event.job_id, reason=event.reason)
            case events.Cancelled():
                self._end_cancelled(attempt)
            case events.Failed():
                log().warning("attempt.failed", job_id=attempt.job.job_id, code=event.code)
                if attempt.cancelled:
                    self._end_cancelled(attempt)
                else:
                    self._fail(attempt, event.code)

    def _checkpointed(self, made: events.Checkpointed) -> None:
        attempt = self._attempt
        if attempt is None or made.job_id != attempt.job.job_id:
            made.discard()
            return
        self._guard.checkpoint(attempt, made, last=self._stopping)
        attempt.checkpointed = self._stopping

    def _progress(self, attempt: Attempt, event: events.Step | events.Phase) -> None:
        total = attempt.job.spec.num_inference_steps
        step, eta, use = attempt.resumed_from, None, None
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
        if not self._may_end(attempt, sealed):
            return
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
        if not self._may_end(attempt, None):
            return
        why = Reason(code="cancelled_by_owner", message=REASONS["cancelled_by_owner"].title)
        self._end(attempt, "cancelled", self._voice.event("Cancelled", attempt, reason=why))

    def _may_end(self, attempt: Attempt, sealed: rust_guard.Artifact | None) -> bool:
        """Whether the guard lets this end be told; if not, the job is given back."""
        try:
            self._guard.announce(attempt, sealed)
        except rust_guard.GuardError as error:
            log().error("attempt.end_refused", job_id=attempt.job.job_id, error=str(error))
            self._fail(attempt, error.code)
            return False
        return True

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
        code = reason.code if reason else None
        self._quarantine.ended(attempt.job.job_id, outcome, code, got_further=attempt.got_further)
        free = self._voice.free(attempt.n, more=not self._quarantine.shut)
        facts = [self._voice.ended(attempt, outcome, reason), free]
        self._commit_end(attempt, outcome, [*events_, *facts])
        if attempt.claim is None:
            return
        if outcome in {"completed", "cancelled"}:
            self._guard.release(attempt.claim)
        else:
            self._guard.give_back(attempt)

    def _commit_end(self, attempt: Attempt, outcome: str, records: list[Outgoing]) -> None:
        with span("commit", parent=context_of(attempt.traceparent)):
            self._log.commit(records, attempt.n, attempt.offset + 1)
        self._attempt = None
        self._guard.forget(attempt)
        attempt.span.set_attribute("outcome", outcome)
        attempt.span.end()
        metrics.ATTEMPTS.labels(outcome).inc()
        log().info(
            "attempt.ended", job_id=attempt.job.job_id, attempt=attempt.number, outcome=outcome
        )

    def _renderer_now(self) -> events.Ready:
        if self._ready is None:
            raise OrderError("an order before the model is loaded")
        return self._ready

    def _in_hand(self) -> Attempt:
        if self._attempt is None:
            raise OrderError("the guard answered for no attempt")
        return self._attempt
