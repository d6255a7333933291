"""The stand-in in a real child: the same machinery as Mochi-1's, and no word of a model."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import pytest

import rust_guard
from gpu_consumer.render.events import (
    Cancelled,
    Checkpointed,
    Failed,
    Phase,
    Ready,
    Rendered,
    RenderEvent,
    ResumeRefused,
    Step,
)
from gpu_consumer.render.job import Resume
from gpu_consumer.render.renderer import Renderer
from tests.integration.render.rendering import ENDS, SMALL, render, settings, until

JOB = replace(SMALL, num_inference_steps=8)
#: Slow enough to be hit in the middle.
SLOW = replace(JOB, job_id="slow", num_inference_steps=200)


@pytest.fixture(scope="module")
def ready_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Renderer, Ready]]:
    """A renderer whose child is the stand-in, and what it said."""
    folder = tmp_path_factory.mktemp("standin")
    given = settings(folder, model="stand-in", stand_in_step=0.01, checkpoint_every_steps=2)
    with Renderer(given) as renderer:
        ready, _ = until(renderer, Ready)
        yield renderer, ready


@pytest.fixture
def standin(ready_one: tuple[Renderer, Ready]) -> Renderer:
    return ready_one[0]


def steps(seen: list[RenderEvent]) -> list[int]:
    return [event.step for event in seen if isinstance(event, Step)]


def test_it_says_that_it_is_no_model_and_holds_no_torch(ready_one: tuple[Renderer, Ready]) -> None:
    renderer, ready = ready_one
    assert ready.model == "stand-in"
    assert ready.device_name == "stand-in (no model)"
    assert ready.fingerprint.startswith("model=stand-in;weights=none;")
    assert "torch" not in ready.libraries
    mapped = Path(f"/proc/{renderer.pid}/maps").read_text()
    assert "libtorch" not in mapped


def test_it_starts_with_less_than_a_second_of_work(tmp_path: Path) -> None:
    # Of the processor's time: how long that takes is also up to what else runs.
    with Renderer(settings(tmp_path, model="stand-in")) as renderer:
        until(renderer, Ready)
        spent = Path(f"/proc/{renderer.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    assert sum(map(int, spent)) / os.sysconf("SC_CLK_TCK") < 1


def test_a_job_has_the_phases_steps_and_video_of_a_real_one(
    standin: Renderer, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    standin.submit(JOB, out)
    end, seen = until(standin, *ENDS)
    assert isinstance(end, Rendered)
    assert (end.frames, end.resumed_from) == (JOB.num_frames, 0)
    assert steps(seen) == list(range(1, 9))
    assert min(event.seconds_per_step for event in seen if isinstance(event, Step)) >= 0.01
    phases = [event.phase for event in seen if isinstance(event, Phase)]
    assert phases == ["encoding_prompt", "denoising", "decoding", "encoding"]
    rust_guard.check_video(out.read_bytes(), JOB.num_frames, JOB.fps, JOB.width, JOB.height)
    with av.open(str(out)) as container:
        [stream] = container.streams.video
        assert len(list(container.decode(stream))) == JOB.num_frames
    saved = [event for event in seen if isinstance(event, Checkpointed)]
    assert [event.step for event in saved] == [2, 4, 6, 8]
    for event in saved:
        rust_guard.check_checkpoint(event.path.read_bytes())


def test_from_every_checkpoint_on_the_video_is_the_same_bit_for_bit(
    standin: Renderer, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.mp4"
    standin.submit(JOB, whole)
    end, seen = until(standin, *ENDS)
    assert isinstance(end, Rendered)
    for made in [event for event in seen if isinstance(event, Checkpointed)]:
        out = tmp_path / f"from-{made.step}.mp4"
        standin.submit(JOB, out, Resume(made.path))
        again, heard = until(standin, *ENDS)
        assert isinstance(again, Rendered)
        assert again.resumed_from == made.step
        assert steps(heard) == list(range(made.step + 1, 9))
        assert "encoding_prompt" not in [e.phase for e in heard if isinstance(e, Phase)]
        assert again.frames_sha256 == end.frames_sha256
        assert out.read_bytes() == whole.read_bytes()


def test_a_checkpoint_that_does_not_fit_is_refused_and_costs_nothing_more(
    standin: Renderer, tmp_path: Path
) -> None:
    hostile = tmp_path / "hostile.safetensors"
    hostile.write_bytes(b"\xff" * 3000)
    standin.submit(JOB, tmp_path / "out.mp4", Resume(hostile))
    end, seen = until(standin, *ENDS)
    assert isinstance(end, Rendered)
    assert isinstance(seen[0], ResumeRefused)
    assert steps(seen) == list(range(1, 9))


def test_a_cancel_stops_it_within_a_step(standin: Renderer, tmp_path: Path) -> None:
    standin.submit(SLOW, tmp_path / "out.mp4")
    _, before = until(standin, Step)
    child = standin.pid
    standin.cancel()
    end, after = until(standin, *ENDS)
    assert isinstance(end, Cancelled)
    assert max(steps(after), default=0) <= max(steps(before)) + 2
    render(standin, JOB, tmp_path / "next.mp4")
    assert standin.pid == child


def test_a_checkpoint_can_be_asked_for(tmp_path: Path) -> None:
    given = settings(tmp_path, model="stand-in", stand_in_step=0.01)
    with Renderer(given) as renderer:
        renderer.submit(SLOW, tmp_path / "out.mp4")
        until(renderer, Step)
        renderer.checkpoint()
        saved, _ = until(renderer, Checkpointed)
        assert saved.path.exists()
        assert 1 <= saved.step <= SLOW.num_inference_steps


def test_a_killed_child_is_replaced_and_its_job_told(standin: Renderer, tmp_path: Path) -> None:
    standin.submit(SLOW, tmp_path / "out.mp4")
    until(standin, Step)
    assert standin.pid is not None
    os.kill(standin.pid, signal.SIGKILL)
    failed, _ = until(standin, Failed)
    assert failed.code == "out_of_memory"
    render(standin, JOB, tmp_path / "next.mp4")


def test_a_job_that_mochi_refuses_it_refuses(standin: Renderer, tmp_path: Path) -> None:
    standin.submit(replace(JOB, width=50, prompt="a secret"), tmp_path / "out.mp4")
    failed, _ = until(standin, Failed)
    assert failed.code == "invalid_spec"
    assert "secret" not in failed.detail


def test_two_for_one_slot_do_not_render_at_once(standin: Renderer, tmp_path: Path) -> None:
    # The lock is in the work folder, by slot: a second child waits for the first to go.
    assert standin.pid is not None
    held = [link.readlink() for link in Path(f"/proc/{standin.pid}/fd").iterdir()]
    [work] = [path.parent for path in held if path.name == "slot-0.lock"]
    with Renderer(settings(tmp_path, model="stand-in", work_dir=work)) as second:
        assert not [event for event in second.poll(1.5) if isinstance(event, Ready)]
        standin.kill()
        until(second, Ready)
    standin.start()
    until(standin, Ready)
