"""The renderer's life with its child: jobs, cancels, and every way in which the child may go."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import pytest

from gpu_consumer.render.events import Cancelled, Failed, Phase, Ready, Step
from gpu_consumer.render.renderer import Renderer
from tests.integration.render.rendering import (
    DEADLINE,
    ENDS,
    LONG,
    SMALL,
    Clock,
    render,
    settings,
    until,
)
from tests.support.wait import until as wait_until


def test_ready_says_what_renders(started: tuple[Renderer, Ready]) -> None:
    ready = started[1]
    assert ready.device == "cpu"
    assert ready.model == "tiny"
    assert {"torch", "diffusers", "av"} <= set(ready.libraries)


def test_a_job_reports_each_step_and_each_phase_in_order(
    renderer: Renderer, tmp_path: Path
) -> None:
    renderer.submit(SMALL, tmp_path / "out.mp4")
    end, seen = until(renderer, *ENDS)
    assert end is seen[-1]
    steps = [event.step for event in seen if isinstance(event, Step)]
    assert steps == [1, 2, 3, 4]
    assert all(event.total == 4 for event in seen if isinstance(event, Step))
    phases = [event.phase for event in seen if isinstance(event, Phase)]
    assert phases == ["encoding_prompt", "denoising", "decoding", "encoding"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        [stream] = container.streams.video
        assert (stream.codec_context.width, stream.codec_context.height) == (64, 48)
        assert len(list(container.decode(stream))) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_the_same_job_gives_the_same_bytes(renderer: Renderer, tmp_path: Path) -> None:
    job = replace(SMALL, width=160, height=96, num_frames=31)
    first, second = tmp_path / "1.mp4", tmp_path / "2.mp4"
    digests = {render(renderer, job, path).frames_sha256 for path in (first, second)}
    assert len(digests) == 1
    assert first.read_bytes() == second.read_bytes()


def test_the_prompt_is_in_no_process_listing(renderer: Renderer, tmp_path: Path) -> None:
    renderer.submit(replace(LONG, prompt="a secret cat"), tmp_path / "out.mp4")
    until(renderer, Step)
    process = Path(f"/proc/{renderer.pid}")
    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert b"secret cat" not in shown
    assert b"TTV_" not in shown
    renderer.cancel()
    until(renderer, Cancelled)


def test_a_cancel_stops_the_render_within_a_step(renderer: Renderer, tmp_path: Path) -> None:
    renderer.submit(LONG, tmp_path / "out.mp4")
    _, before = until(renderer, Step)
    child = renderer.pid
    renderer.cancel()
    _, after = until(renderer, Cancelled)
    at_cancel = max(event.step for event in before if isinstance(event, Step))
    steps = [event.step for event in after if isinstance(event, Step)]
    # A step may have ended while the cancel was on its way, and one was under way.
    assert max(steps, default=0) <= at_cancel + 2
    assert list(tmp_path.iterdir()) == []
    render(renderer, SMALL, tmp_path / "next.mp4")
    assert renderer.pid == child


def test_a_cancel_stops_the_decoding_too(renderer: Renderer, tmp_path: Path) -> None:
    # Large enough to be decoded in tiles.
    job = replace(LONG, width=544, height=288, num_frames=109, num_inference_steps=2)
    renderer.submit(job, tmp_path / "out.mp4")
    phase = ""
    while phase != "decoding":
        phase = until(renderer, Phase)[0].phase
    renderer.cancel()
    end, seen = until(renderer, *ENDS)
    assert isinstance(end, Cancelled)
    assert not any(event.phase == "encoding" for event in seen if isinstance(event, Phase))
    assert list(tmp_path.iterdir()) == []


def test_a_late_cancel_does_not_touch_the_next_job(renderer: Renderer, tmp_path: Path) -> None:
    render(renderer, SMALL, tmp_path / "1.mp4")
    renderer.cancel()
    render(renderer, SMALL, tmp_path / "2.mp4")


def test_one_job_at_a_time(renderer: Renderer, tmp_path: Path) -> None:
    renderer.submit(SMALL, tmp_path / "1.mp4")
    with pytest.raises(RuntimeError, match="one at a time"):
        renderer.submit(SMALL, tmp_path / "2.mp4")
    until(renderer, *ENDS)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"width": 50}, "invalid_spec"),
        ({"num_inference_steps": 1}, "invalid_spec"),
        ({"prompt": "a secret \ud800"}, "invalid_spec"),
        ({"prompt": "a secret " * 100_000}, "invalid_spec"),
    ],
)
def test_a_job_that_the_model_refuses_fails_alone(
    renderer: Renderer, tmp_path: Path, change: dict[str, object], code: str
) -> None:
    child = renderer.pid
    renderer.submit(replace(SMALL, **change), tmp_path / "out.mp4")  # type: ignore[arg-type]
    failed, _ = until(renderer, Failed)
    assert failed.code == code
    assert "secret" not in failed.detail
    render(renderer, SMALL, tmp_path / "next.mp4")
    assert renderer.pid == child


def test_a_folder_that_is_not_there_fails_the_job_alone(renderer: Renderer, tmp_path: Path) -> None:
    child = renderer.pid
    renderer.submit(SMALL, tmp_path / "missing" / "out.mp4")
    failed, _ = until(renderer, Failed)
    assert failed.code == "render_crashed"
    assert "errno 2" in failed.detail
    render(renderer, SMALL, tmp_path / "next.mp4")
    assert renderer.pid == child


def test_an_idle_child_rests(renderer: Renderer, tmp_path: Path) -> None:
    render(renderer, SMALL, tmp_path / "out.mp4")
    before = _cpu_seconds(renderer.pid)
    since = time.monotonic()
    assert renderer.poll(2.0) == []
    assert time.monotonic() - since >= 2.0
    assert _cpu_seconds(renderer.pid) - before < 0.1


def test_a_child_killed_mid_render_costs_one_job(renderer: Renderer, tmp_path: Path) -> None:
    renderer.submit(LONG, tmp_path / "out.mp4")
    until(renderer, Step)
    child = renderer.pid
    assert child is not None
    os.kill(child, signal.SIGSEGV)
    failed, _ = until(renderer, Failed)
    assert failed.code == "render_crashed"
    assert "SIGSEGV" in failed.detail
    renderer.submit(LONG, tmp_path / "out.mp4")
    child = renderer.pid  # one that is still loading
    assert child is not None
    os.kill(child, signal.SIGKILL)
    failed, _ = until(renderer, Failed)
    assert failed.code == "out_of_memory"
    assert "SIGKILL" in failed.detail
    render(renderer, SMALL, tmp_path / "next.mp4")
    assert renderer.pid != child
    assert [path.name for path in tmp_path.iterdir()] == ["next.mp4"]


def test_a_stuck_child_is_killed_and_replaced(
    renderer: Renderer, clock: Clock, tmp_path: Path
) -> None:
    renderer.submit(LONG, tmp_path / "out.mp4")
    until(renderer, Step)
    child = renderer.pid
    assert child is not None
    os.kill(child, signal.SIGSTOP)
    renderer.poll(0.2)  # what it said before it stopped
    clock.ahead += 60.0
    assert not [event for event in renderer.poll() if isinstance(event, Failed)]
    clock.ahead += 61.0
    failed, _ = until(renderer, Failed)
    assert failed.code == "render_stuck"
    assert not Path(f"/proc/{child}").exists()
    render(renderer, SMALL, tmp_path / "next.mp4")


def test_garbage_from_the_child_ends_it_and_costs_one_job(
    renderer: Renderer, tmp_path: Path
) -> None:
    renderer.submit(LONG, tmp_path / "out.mp4")
    until(renderer, Step)
    child = renderer.pid
    arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    events = int(arguments[arguments.index(b"--events") + 1])
    with Path(f"/proc/{child}/fd/{events}").open("wb", buffering=0) as pipe:
        pipe.write(b"Segmentation fault, a secret cat\n")
    failed, _ = until(renderer, Failed)
    assert failed.code == "render_crashed"
    assert "secret" not in failed.detail
    assert not Path(f"/proc/{child}").exists()
    render(renderer, SMALL, tmp_path / "next.mp4")


def test_a_job_too_large_for_the_memory_fails_alone(renderer: Renderer, tmp_path: Path) -> None:
    render(renderer, SMALL, tmp_path / "before.mp4")
    child = renderer.pid
    assert child is not None
    pages = int(Path(f"/proc/{child}/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 64 * 2**20
    resource.prlimit(child, resource.RLIMIT_AS, (most, most))
    renderer.submit(replace(LONG, num_inference_steps=2), tmp_path / "out.mp4")
    failed, _ = until(renderer, Failed)
    assert failed.code == "out_of_memory"
    render(renderer, SMALL, tmp_path / "next.mp4")
    assert renderer.pid != child


def test_a_device_that_is_not_there_fails_the_job_that_waits(tmp_path: Path) -> None:
    with Renderer(settings(tmp_path, device="cuda:99")) as renderer:
        renderer.submit(SMALL, tmp_path / "out.mp4")
        failed, _ = until(renderer, Failed)
    assert failed.code == "model_unavailable"
    assert "cuda:99" in failed.detail


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = Path(f"/proc/{int(parent.stdout.readline())}")
    wait_until(lambda: b"gpu_consumer.render.child" in (child / "cmdline").read_bytes())
    parent.kill()
    parent.wait(DEADLINE)
    parent.stdout.close()
    _wait_until_gone(child)


_PARENT = """
import sys
from pathlib import Path
from gpu_consumer.render.renderer import Renderer
from tests.integration.render.rendering import LONG, settings, until

folder = Path(sys.argv[1])
renderer = Renderer(settings(folder))
renderer.submit(LONG, folder / "out.mp4")
print(renderer.pid, flush=True)
until(renderer, type(None))
"""


def _cpu_seconds(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_until_gone(process: Path) -> None:
    limit = time.monotonic() + DEADLINE
    while time.monotonic() < limit:
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":  # dead, and not yet collected by whoever adopted it
            return
        time.sleep(0.05)
    raise AssertionError("the child outlives its parent")
