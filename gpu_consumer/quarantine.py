"""A slot that fails one job after the other is itself suspect: it takes no work until it is tested.

The test is a small fixed job, rendered twice through the slot's own renderer: both videos must come
out, with the same frames. Until it has passed, the slot beats but has no credit, so its jobs go
elsewhere and cost no attempts here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gpu_consumer import metrics
from gpu_consumer.render.events import (
    Checkpointed,
    Died,
    Failed,
    Ready,
    Rendered,
    RenderEvent,
)
from gpu_consumer.render.job import RenderJob
from gpu_consumer.render.renderer import Renderer
from infra.telemetry import log

#: Failures that the slot can be to blame for; others are the job's, the store's or nobody's.
BLAMES_SLOT: Final = frozenset(
    {"out_of_memory", "render_crashed", "render_stuck", "bad_output", "model_unavailable"}
)
#: What a slot must be able to render, twice alike.
TEST_JOB: Final = RenderJob(
    job_id="self-test",
    prompt="a lighthouse in the fog",
    negative_prompt="",
    width=64,
    height=64,
    num_frames=7,
    num_inference_steps=4,
    guidance_scale=4.5,
    seed=7,
)
_RENDERS: Final = 2
#: Seconds; the pause between two tests is doubled up to this.
MAX_PAUSE: Final = 3600.0


@dataclass(slots=True)
class Conduct:
    """How a slot's last attempts ended, as far as they speak for or against it. Pure.

    Attributes:
        limit: So many different jobs in a row, failed before they got anywhere, are too many.
    """

    limit: int
    _failed: set[str] = field(default_factory=set)

    @property
    def suspect(self) -> bool:
        """Whether the slot should be tested before it takes more work."""
        return len(self._failed) >= self.limit

    def ended(self, job_id: str, outcome: str, code: str | None, *, got_further: bool) -> None:
        """An attempt ended.

        Args:
            job_id: Of which job; the same job again says nothing new about the slot.
            outcome: As in AttemptEnded.
            code: Why it failed.
            got_further: Whether it stored denoising steps of its own.
        """
        if outcome == "completed" or got_further:
            self._failed.clear()
        elif outcome == "failed" and code in BLAMES_SLOT:
            self._failed.add(job_id)

    def cleared(self) -> None:
        """The slot has shown that it can work."""
        self._failed.clear()


class Quarantine:
    """Watches over one slot, and tests it. Driven by the slot's loop; nothing blocks."""

    def __init__(
        self,
        renderer: Renderer,
        folder: Path,
        limit: int,
        pause: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is wrong yet.

        Args:
            renderer: The slot's own, free whenever the slot has no attempt in hand.
            folder: Scratch space.
            limit: See :class:`Conduct`.
            pause: Seconds from a failed test to the next; doubled each time.
            clock: Seconds.
        """
        self._renderer = renderer
        self._out = folder / f"{TEST_JOB.job_id}.mp4"
        self._conduct = Conduct(limit)
        self._first_pause = self._pause = pause
        self._clock = clock
        self._shut = self._testing = False
        self._next_test = 0.0
        self._seen: list[str] = []

    @property
    def shut(self) -> bool:
        """Whether the slot takes no work."""
        return self._shut

    def ended(self, job_id: str, outcome: str, code: str | None, *, got_further: bool) -> None:
        """An attempt is about to be given back: see :meth:`Conduct.ended`, then :attr:`shut`."""
        self._conduct.ended(job_id, outcome, code, got_further=got_further)
        if self._conduct.suspect and not self._shut:
            self._shut, self._pause, self._next_test = True, self._first_pause, self._clock()
            metrics.QUARANTINED.set(1)
            log().error("slot.quarantined", failed_jobs=self._conduct.limit, last_code=code)

    def turn(self) -> bool:
        """Begin a test when one is due; True, once, when the slot has passed: it takes work again.

        To be called while the slot has no attempt in hand.
        """
        if self._shut and not self._testing and len(self._seen) == _RENDERS:
            return self._released()
        if self._shut and not self._testing and self._clock() >= self._next_test:
            self._testing, self._seen = True, []
            self._renderer.kill()  # whatever state the child was in is no excuse
            self._renderer.submit(TEST_JOB, self._out)
        return False

    def took(self, event: RenderEvent) -> bool:
        """Whether the event was of the test alone, and is dealt with."""
        if isinstance(event, Ready | Died | Checkpointed) or event.job_id != TEST_JOB.job_id:
            return False  # a checkpoint's file is its receiver's to delete
        if isinstance(event, Rendered):
            self._rendered(event)
        elif isinstance(event, Failed):
            self._failed(event.code)
        return True

    def _rendered(self, event: Rendered) -> None:
        event.path.unlink(missing_ok=True)
        self._seen.append(event.frames_sha256)
        if len(set(self._seen)) > 1:
            self._failed("bad_output")
        elif len(self._seen) < _RENDERS:
            self._renderer.submit(TEST_JOB, self._out)
        else:
            self._testing = False

    def _failed(self, code: str) -> None:
        self._testing, self._seen = False, []
        self._next_test = self._clock() + self._pause
        log().error("slot.test_failed", code=code, again_in_s=self._pause)
        self._pause = min(2 * self._pause, MAX_PAUSE)

    def _released(self) -> bool:
        self._shut, self._seen = False, []
        self._conduct.cleared()
        metrics.QUARANTINED.set(0)
        log().warning("slot.test_passed")
        return True
