"""A slot that fails job after job is tested through its own renderer, harmed here for real."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_consumer import metrics
from gpu_consumer.quarantine import TEST_JOB, Quarantine
from gpu_consumer.render.events import Failed, Phase, Rendered, RenderEvent
from gpu_consumer.render.renderer import Renderer
from infra.settings import STAND_IN
from tests.integration.render.rendering import DEADLINE, LONG, SMALL, Clock, render, settings, until

PAUSE = 60.0


class Slot:
    """What a slot's loop does with its renderer and its quarantine."""

    def __init__(self, renderer: Renderer, clock: Clock, folder: Path, limit: int = 3) -> None:
        self.renderer = renderer
        self.clock = clock
        self.quarantine = Quarantine(renderer, folder, limit=limit, pause=PAUSE, clock=clock)
        self.seen: list[RenderEvent] = []

    def fails(self, job: str, out: Path) -> None:
        """A job's child dies at its work."""
        self.renderer.submit(LONG, out)
        until(self.renderer, Phase)
        assert self.renderer.pid is not None
        os.kill(self.renderer.pid, signal.SIGSEGV)
        failed, _ = until(self.renderer, Failed)
        self.quarantine.ended(job, "failed", failed.code, got_further=False)

    def turn(self) -> bool:
        for event in self.renderer.poll(0.05):
            if self.quarantine.took(event):
                self.seen.append(event)
        return self.quarantine.shut and self.quarantine.turn()

    def until_open(self) -> None:
        """Turn until the slot takes work again."""
        limit = time.monotonic() + DEADLINE
        while not self.turn():
            assert time.monotonic() < limit, self.seen

    def until_the_test_fails(self) -> int:
        """Turn, and kill the child once the test is at work; the child that came after it."""
        limit = time.monotonic() + DEADLINE
        self.seen.clear()
        while not any(isinstance(event, Failed) for event in self.seen):
            assert not self.turn()
            assert time.monotonic() < limit, self.seen
            if self.seen and self.renderer.pid is not None:
                os.kill(self.renderer.pid, signal.SIGKILL)
        while self.renderer.pid is None:
            assert not self.turn()
            assert time.monotonic() < limit, self.seen
        return self.renderer.pid


@contextmanager
def stand_in_slot(folder: Path) -> Iterator[Slot]:
    """A slot whose children are there at once, and render no model."""
    own = settings(folder, work_dir=folder, model=STAND_IN, stand_in_step=0.2)
    clock = Clock()
    with Renderer(own, clock) as renderer:
        yield Slot(renderer, clock, folder)


def shut_gauge() -> float:
    return float(metrics.QUARANTINED._value.get())


def test_a_bad_slot_is_shut_tested_and_let_back(tmp_path: Path) -> None:
    with stand_in_slot(tmp_path) as slot:
        for job in ("a", "b", "c"):
            assert not slot.quarantine.shut
            slot.fails(job, tmp_path / f"{job}.mp4")
        assert slot.quarantine.shut
        assert shut_gauge() == 1
        slot.until_the_test_fails()  # the harm goes on
        assert slot.quarantine.shut
        assert shut_gauge() == 1

        slot.seen.clear()
        slot.clock.ahead += PAUSE
        slot.until_open()
        assert not slot.quarantine.shut
        assert shut_gauge() == 0
        slot.fails("d", tmp_path / "d.mp4")
        assert not slot.quarantine.shut, "what was before the test is forgotten"


def test_the_model_itself_passes_the_test(renderer: Renderer, clock: Clock, tmp_path: Path) -> None:
    slot = Slot(renderer, clock, tmp_path, limit=1)
    slot.fails("a", tmp_path / "a.mp4")
    assert slot.quarantine.shut
    slot.until_open()
    videos = [event for event in slot.seen if isinstance(event, Rendered)]
    assert [video.frames for video in videos] == [TEST_JOB.num_frames] * 2
    assert len({video.frames_sha256 for video in videos}) == 1
    assert list(tmp_path.iterdir()) == []
    render(renderer, SMALL, tmp_path / "next.mp4")


def test_each_failed_test_doubles_the_pause_to_the_next(tmp_path: Path) -> None:
    with stand_in_slot(tmp_path) as slot:
        for job in ("a", "b", "c"):
            slot.quarantine.ended(job, "failed", "render_crashed", got_further=False)
        for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE):
            child = slot.until_the_test_fails()
            slot.clock.ahead += pause - 1
            slot.turn()
            assert slot.renderer.pid == child, "tested before its time"
            slot.clock.ahead += 2
            slot.turn()
            assert slot.renderer.pid != child, "not tested in time: a test gets a child of its own"
        slot.until_open()
