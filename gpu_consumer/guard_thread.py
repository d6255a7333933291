"""The guard's calls on a thread of their own, one after the other, so that the loop never waits.

Their order is what makes a release right: no checkpoint is stored after it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import stamina

import rust_guard
from gpu_consumer import metrics
from gpu_consumer.attempt import Attempt
from gpu_consumer.render.checkpoint_file import identity
from gpu_consumer.render.events import Checkpointed
from gpu_consumer.render.job import Resume
from infra.crash import crash_point
from infra.telemetry import context_of, log, span
from schemas.job import FPS

#: A store that is away for less costs a finished render nothing but the wait.
_SEAL_PATIENCE: Final = 300.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that is ours, with what is already there of its job.

    Attributes:
        claim: Proof of ownership.
        adopted: A sealed video of an earlier start; there is nothing left to render.
        resume: The newest good checkpoint, written to files of ours.
        step: Denoising steps that it holds.
    """

    claim: rust_guard.Claim
    adopted: rust_guard.Artifact | None = None
    resume: Resume | None = None
    step: int = 0


class GuardThread:
    """Runs the guard for one slot."""

    def __init__(self, guard: rust_guard.Guard, topic: str, slot: int, folder: Path) -> None:
        self._guard = guard
        self._topic = topic
        self._slot = slot
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "guard")
        self._storing: Future[None] | None = None

    def claim(self, attempt: Attempt, fingerprint: str) -> Future[Claimed]:
        """Claim the attempt and look for what is left of earlier ones; may raise GuardError."""
        return self._thread.submit(self._claim, attempt, fingerprint)

    def seal(self, attempt: Attempt, path: Path, about: str) -> Future[rust_guard.Artifact]:
        """Check, store and seal the video at ``path`` with its manifest ``about``, then delete it.

        The future may raise GuardError.
        """
        return self._thread.submit(self._seal, attempt, path, about)

    def checkpoint(self, attempt: Attempt, made: Checkpointed, *, last: bool) -> None:
        """Store a checkpoint, and delete its files; dropped while another is on its way.

        ``last``: the job is handed on from it, so it waits for the other.
        """
        attempt.conditioning = made.conditioning or attempt.conditioning
        if attempt.claim is None or (self.storing and not last):
            made.path.unlink(missing_ok=True)
            return
        self._storing = self._thread.submit(self._store, attempt, attempt.claim, made)

    @property
    def storing(self) -> bool:
        """Whether a checkpoint is on its way to the store."""
        return self._storing is not None and not self._storing.done()

    def announce(self, attempt: Attempt, sealed: rust_guard.Artifact | None = None) -> None:
        """Ask the guard whether this end may be committed; without a video it is a cancellation.

        Raises:
            GuardError: it does not follow from where the attempt is.
        """
        if attempt.claim is not None:
            self._guard.announce(attempt.claim, sealed)

    def give_back(self, attempt: Attempt) -> None:
        """Tell the guard that the attempt ends without an end of its job."""
        if attempt.claim is None:
            return
        try:
            self._guard.give_back(attempt.claim)
        except rust_guard.GuardError as error:  # its end is committed already: nothing to save
            log().error("attempt.not_given_back", job_id=attempt.job.job_id, error=str(error))

    def release(self, claim: rust_guard.Claim) -> None:
        """Delete what only a job under way needs."""
        self._thread.submit(self._release, claim)

    def forget(self, attempt: Attempt) -> None:
        """Delete what is left on disk of an attempt that has ended, after what is under way."""
        self._thread.submit(self._forget, attempt)

    def close(self) -> None:
        """Start nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _claim(self, attempt: Attempt, fingerprint: str) -> Claimed:
        with span("claim", parent=context_of(attempt.traceparent)):
            claim = self._guard.claim(
                attempt.pool_incarnation,
                attempt.job.tenant_id,
                attempt.job.job_id,
                attempt.number,
                rust_guard.Record(self._topic, self._slot, attempt.offset),
                attempt.job.spec_digest,
            )
            adopted = self._guard.sealed(claim)
            found, (path, shared) = None, attempt.resume_files(self._folder)
            if adopted is None:
                found = self._guard.latest_checkpoint(
                    claim, path, fingerprint, shared, identity(fingerprint)
                )
            for key, reason in self._guard.take_rejected():
                metrics.REJECTED.inc()
                log().error("stored.rejected", key=key, reason=reason)
            if found is None:
                return Claimed(claim, adopted)
            apart = shared if found.conditioning_sha256 is not None else None
            return Claimed(claim, adopted, Resume(path, apart), found.step)

    def _seal(self, attempt: Attempt, path: Path, about: str) -> rust_guard.Artifact:
        crash_point("gpu_before_upload")
        spec = attempt.job.spec
        if attempt.claim is None:
            raise ValueError("sealing without a claim")
        with span("seal", parent=context_of(attempt.traceparent)):
            for again in stamina.retry_context(
                rust_guard.StoreUnavailable, attempts=None, timeout=_SEAL_PATIENCE
            ):
                with again:  # a render is worth more than waiting for the store
                    sealed = self._guard.seal(
                        attempt.claim,
                        path,
                        spec.num_frames,
                        FPS,
                        spec.width,
                        spec.height,
                        manifest=about,
                    )
        path.unlink(missing_ok=True)
        crash_point("gpu_after_upload")
        return sealed

    def _store(self, attempt: Attempt, claim: rust_guard.Claim, made: Checkpointed) -> None:
        try:
            self._share(attempt, claim)
            self._guard.checkpoint(
                claim, made.path, made.step, made.total, made.fingerprint, attempt.shared
            )
        except rust_guard.GuardError as error:
            log().warning("checkpoint.not_stored", job_id=claim.job_id, code=error.code)
        else:
            attempt.steps_stored = max(attempt.steps_stored, made.step)
            metrics.CHECKPOINTS.inc()
            crash_point("gpu_after_checkpoint")
        finally:
            made.path.unlink(missing_ok=True)

    def _share(self, attempt: Attempt, claim: rust_guard.Claim) -> None:
        """Store once what all checkpoints of the attempt share."""
        if attempt.shared is None and attempt.conditioning is not None:
            attempt.shared = self._guard.conditioning(claim, attempt.conditioning)
            attempt.conditioning.unlink(missing_ok=True)

    def _forget(self, attempt: Attempt) -> None:
        files = [attempt.file(self._folder), *attempt.resume_files(self._folder)]
        if attempt.conditioning is not None:
            files.append(attempt.conditioning)
        for file in files:
            file.unlink(missing_ok=True)

    def _release(self, claim: rust_guard.Claim) -> None:
        try:
            self._guard.release(claim)
        except rust_guard.GuardError as error:
            log().warning("claim.not_released", job_id=claim.job_id, code=error.code)
