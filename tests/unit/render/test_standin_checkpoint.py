"""The stand-in's checkpoints: what the guard takes, read back, and nothing else taken."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import rust_guard
from gpu_consumer.render import standin
from gpu_consumer.render.checkpoint_file import CheckpointRefused
from gpu_consumer.render.job import RenderJob
from gpu_consumer.render.standin_checkpoint import (
    Latents,
    metadata,
    read,
    write,
)

JOB = RenderJob("job", "a secret cat", "blurry", 64, 48, 13, 8, 4.5, 11)
PRINT = "model=stand-in;weights=none;dtype=float32;device=here"


def after(step: int, job: RenderJob = JOB) -> Latents:
    latents = standin.noise(job, 0)
    for each in range(1, step + 1):
        latents = standin.stepped(latents, job, each)
    return latents


def stored(folder: Path, step: int = 3, latents: Latents | None = None) -> Path:
    path = folder / "job.3.safetensors"
    given = after(step) if latents is None else latents
    write(path, folder / "part", given, metadata(JOB, step, PRINT))
    return path


def test_it_comes_back_as_it_was_and_the_guard_takes_it(tmp_path: Path) -> None:
    path = stored(tmp_path)
    rust_guard.check_checkpoint(path.read_bytes())
    step, latents = read(path, JOB, standin.shape(JOB), PRINT)
    assert step == 3
    assert latents.shape == (1, 12, 3, 6, 8)
    assert np.array_equal(latents, after(3))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert b"secret" not in path.read_bytes()


def test_going_on_from_any_step_gives_the_same_frames_and_any_other_way_does_not() -> None:
    def shown(latents: Latents) -> bytes:
        return b"".join(frame.tobytes() for frame in standin.frames(latents, JOB))

    whole = after(8)
    repeated = standin.stepped(after(8), JOB, 8)
    skipped = after(2)
    for step in (4, 5, 6, 7, 8):
        skipped = standin.stepped(skipped, JOB, step)
    others = [
        after(8, replace(JOB, **change))
        for change in ({"seed": 12}, {"prompt": "a dog"}, {"guidance_scale": 4.0})
    ]
    frames = [shown(one) for one in (whole, repeated, skipped, *others)]
    assert len(set(frames)) == len(frames)
    assert len(frames[0]) == JOB.num_frames * JOB.height * JOB.width * 3
    assert shown(after(8, replace(JOB, job_id="another"))) == frames[0]


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": "another"},
        {"seed": 12},
        {"num_inference_steps": 9},
        {"guidance_scale": 4.0},
        {"num_frames": 19},
    ],
)
def test_that_of_another_job_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    other = replace(JOB, **change)  # type: ignore[arg-type]
    with pytest.raises(CheckpointRefused):
        read(stored(tmp_path), other, standin.shape(other), PRINT)


def test_that_of_another_renderer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused):
        read(stored(tmp_path), JOB, standin.shape(JOB), PRINT + ";numpy=1")


def test_latents_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    latents = after(3)
    latents[0, 0, 0, 0, 0] = np.nan
    with pytest.raises(CheckpointRefused, match="finite"):
        read(stored(tmp_path, latents=latents), JOB, standin.shape(JOB), PRINT)


def test_a_file_cut_grown_or_changed_in_its_header_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    broken = [whole[:-1], whole + b"\0", b"", whole[:header], b"\xff" * len(whole)]
    # The step itself may be another: whether the bytes are those stored, the guard's hash tells.
    places = set(range(header)) - {whole.index(b'"step":"3"') + 8}
    broken += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in places]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(CheckpointRefused):
            read(path, JOB, standin.shape(JOB), PRINT)
    path.write_bytes(whole)
    assert read(path, JOB, standin.shape(JOB), PRINT)[0] == 3


def test_a_link_a_pipe_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(stored(tmp_path))
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointRefused):
            read(path, JOB, standin.shape(JOB), PRINT)


def test_no_file_is_left_where_none_can_be_written(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(FileNotFoundError):
        write(missing / "a", missing / "part", after(1), metadata(JOB, 1, PRINT))
