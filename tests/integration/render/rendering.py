"""Jobs for the tiny model, and waiting for what becomes of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gpu_consumer.render.events import Cancelled, Failed, Rendered, RenderEvent
from gpu_consumer.render.job import RenderJob
from gpu_consumer.render.renderer import Renderer
from infra.settings import Settings

#: Seconds; a child takes ten to import its libraries on an idle core, and cores may be busy.
DEADLINE = 110.0
ENDS = (Rendered, Cancelled, Failed)
SMALL = RenderJob("small", "a cat in the rain", "blurry", 64, 48, 7, 4, 4.5, 11)
#: Longer than any test waits, so that it surely is at work when something happens to it.
LONG = replace(SMALL, job_id="long", width=256, height=256, num_frames=31, num_inference_steps=256)

E = TypeVar("E")


class Clock:
    """Seconds, which a test may move on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def settings(folder: Path, **changes: Any) -> Settings:
    """Settings of a consumer whose model and scratch space are in ``folder``."""
    given = {"model_dir": folder / "models", "work_dir": folder / "work", "device": "cpu"}
    return Settings(**{**given, **changes})


def until(renderer: Renderer, *kinds: type[E]) -> tuple[E, list[RenderEvent]]:
    """The first event of one of ``kinds``, and all that came by with it."""
    seen: list[RenderEvent] = []
    limit = time.monotonic() + DEADLINE
    while time.monotonic() < limit:
        seen += renderer.poll(0.2)
        for event in seen:
            if isinstance(event, kinds):
                return event, seen
    raise AssertionError(f"none of {kinds} in {DEADLINE:g} s: {seen}")


def render(renderer: Renderer, job: RenderJob, out: Path) -> Rendered:
    """Renders ``job``; anything else than a video is a failure of the test."""
    renderer.submit(job, out)
    end, _ = until(renderer, *ENDS)
    assert isinstance(end, Rendered), end
    assert end.job_id == job.job_id
    return end
