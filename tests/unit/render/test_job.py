"""What Mochi-1 can render."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gpu_consumer.render.job import RenderJob, faults

JOB = RenderJob("a-job", "a cat", "", 848, 480, 163, 64, 4.5, 7)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"width": 32, "height": 32, "num_frames": 1, "num_inference_steps": 2},
        {"width": 1360, "height": 768, "num_frames": 301, "num_inference_steps": 256},
        {"guidance_scale": 0.0, "seed": 2**32 - 1},
        {"prompt": "naïve ☃ 猫\n"},
    ],
)
def test_every_legal_job_is_without_fault(change: dict[str, object]) -> None:
    assert faults(replace(JOB, **change)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 16),
        ("width", 850),
        ("width", 1376),
        ("height", 0),
        ("height", 784),
        ("num_frames", 0),
        ("num_frames", 8),
        ("num_frames", 307),
        ("num_inference_steps", 1),
        ("num_inference_steps", 257),
        ("guidance_scale", math.nan),
        ("guidance_scale", -1.0),
        ("seed", -1),
        ("seed", 2**32),
        ("fps", 0),
        ("prompt", "secret \ud800"),
        ("negative_prompt", "secret \udfff"),
    ],
)
def test_a_fault_names_its_field_and_quotes_no_prompt(field: str, value: object) -> None:
    found = faults(replace(JOB, **{field: value}))  # type: ignore[arg-type]
    assert len(found) == 1
    assert found[0].startswith(field)
    assert "secret" not in found[0]


def test_a_job_in_a_log_shows_no_prompt() -> None:
    shown = f"{replace(JOB, prompt='secret', negative_prompt='hidden')!r}"
    assert "secret" not in shown
    assert "hidden" not in shown
    assert "a-job" in shown
