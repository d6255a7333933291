"""Checkpoints are written beside the loop, and never hold it up."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from gpu_consumer.render import checkpoint, pipeline
from gpu_consumer.render.checkpoint import Tensors
from gpu_consumer.render.checkpointing import Checkpoints, Copies, JobCheckpoints, Plan
from tests.integration.render.checkpoints import FINGERPRINT, JOB, denoise, load
from tests.integration.render.rendering import DEADLINE

EACH = Plan(every_steps=1, mtbf=3600.0)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TEXTS = {"prompt_embeds": torch.ones(1, 4, 4), "negative_prompt_embeds": None}


class Disk:
    """Writes as the real one does, once it is let."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.go = threading.Event()
        self.error: Exception | None = None

    def write(self, path: Path, part: Path, tensors: Tensors, about: dict[str, str]) -> None:
        self.begun.append(int(about["step"]))
        assert self.go.wait(DEADLINE)
        if self.error is not None:
            raise self.error
        checkpoint.write(path, part, tensors, about)


class Job:
    """Checkpoints of one job onto ``disk``, and what it heard of them."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.shared = Checkpoints(EACH, FINGERPRINT, disk.write)
        self.heard: list[int] = []
        self.saved = self._begin(folder)

    def _begin(self, folder: Path) -> JobCheckpoints:
        return self.shared.of(
            JOB, folder / "out.mp4", TEXTS, lambda step, _seconds: self.heard.append(step)
        )

    def rest(self) -> None:
        """Returns once nothing is being written."""
        limit = time.monotonic() + DEADLINE
        while self.shared.writer.busy():
            assert time.monotonic() < limit
            time.sleep(0.002)


def test_a_stuck_disk_does_not_hold_up_the_loop(folder: Path, tmp_path: Path) -> None:
    pipe, disk = load(folder), Disk()
    begin = pipeline.encode_prompt(pipe, JOB)
    undisturbed = denoise(pipe, JOB, begin)
    job = Job(tmp_path, disk)
    latents = denoise(pipe, JOB, begin, job.saved.offer)  # returns, though no write does
    assert torch.equal(latents, undisturbed)
    assert disk.begun == [0]  # the texts
    assert job.heard == []
    disk.go.set()
    job.rest()
    assert job.heard == [1]
    assert disk.begun == [0, 1]  # what was due meanwhile is not made up for


def test_a_checkpoint_put_off_is_due_at_the_next_step(tmp_path: Path) -> None:
    disk = Disk()
    job = Job(tmp_path, disk)
    for step in (1, 2, 3):
        job.saved.offer(step, torch.full((2, 2), float(step)))
    disk.go.set()
    job.rest()
    job.saved.offer(4, torch.full((2, 2), 4.0))
    job.rest()
    assert job.heard == [1, 4]
    assert disk.begun == [0, 1, 4]  # the texts once
    for step in (1, 4):
        data = (tmp_path / f"out.{step}.safetensors").read_bytes()
        assert data.endswith(torch.full((2, 2), float(step)).numpy().tobytes()) or (
            torch.full((2, 2), float(step)).numpy().tobytes() in data
        )


def test_what_is_written_is_the_state_at_its_step(tmp_path: Path) -> None:
    disk = Disk()
    job, latents = Job(tmp_path, disk), torch.full((2, 2), 1.0)
    job.saved.offer(1, latents)
    latents.zero_()
    disk.go.set()
    job.rest()
    assert (
        torch.full((2, 2), 1.0).numpy().tobytes() in (tmp_path / "out.1.safetensors").read_bytes()
    )


def test_a_write_that_outlives_its_job_leaves_nothing(tmp_path: Path) -> None:
    disk = Disk()
    job = Job(tmp_path, disk)
    with job.saved:
        job.saved.offer(1, torch.ones(2))
        limit = time.monotonic() + DEADLINE
        while not disk.begun:
            assert time.monotonic() < limit
            time.sleep(0.002)
    disk.go.set()
    job.rest()
    assert job.heard == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_a_disk_that_is_full_costs_the_checkpoint_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    disk = Disk()
    disk.error = error
    disk.go.set()
    job = Job(tmp_path, disk)
    job.saved.offer(1, torch.ones(2))
    job.rest()
    assert job.heard == []
    assert type(error).__name__ in capfd.readouterr().err
    disk.error = None
    job.saved.offer(2, torch.ones(2))
    job.rest()
    assert job.heard == [2]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"out.2.safetensors", "out.conditioning.safetensors"}


def test_a_folder_that_is_gone_costs_the_checkpoint_alone(tmp_path: Path) -> None:
    disk = Disk()
    disk.go.set()
    job = Job(tmp_path / "gone", disk)
    job.saved.offer(1, torch.ones(2))
    job.rest()
    assert job.heard == []


@pytest.mark.parametrize("device", DEVICES)
def test_a_copy_is_whole_apart_and_in_the_hosts_memory(device: str) -> None:
    source = torch.arange(4096, dtype=torch.bfloat16, device=device).view(64, 64).t()
    copy, whole = Copies().of(source)
    kept = source.cpu().clone()
    source.zero_()
    whole()
    assert copy.device.type == "cpu"
    assert copy.is_contiguous()
    assert torch.equal(copy, kept)
