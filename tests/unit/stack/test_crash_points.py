"""A process dies at the point that it is told, once, and nowhere else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
from infra.crash import crash_point

crash_point("before_upload")
print("uploaded", flush=True)
crash_point("after_upload", first=lambda: print("flushed", flush=True))
print("done", flush=True)
"""


def run(folder: Path, crash_at: str | None) -> tuple[int, list[str]]:
    """Exit status of a program with two points, and what it said."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    env.pop("TTV_CRASH_AT", None)
    if crash_at is not None:
        env["TTV_CRASH_AT"] = crash_at
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout.split()


KILLED = (-signal.SIGKILL, ["uploaded", "flushed"])
THROUGH = (0, ["uploaded", "done"])


def test_a_point_that_is_named_kills_every_time(tmp_path: Path) -> None:
    assert run(tmp_path, "after_upload") == KILLED
    assert run(tmp_path, "after_upload") == KILLED


@pytest.mark.parametrize("crash_at", [None, "no_such_point", "after", "nowhere/"])
def test_a_process_that_is_not_told_to_goes_through(tmp_path: Path, crash_at: str | None) -> None:
    assert run(tmp_path, crash_at) == THROUGH


def test_a_marker_kills_once(tmp_path: Path) -> None:
    marker = tmp_path / "once"
    marker.touch()
    assert run(tmp_path, f"after_upload:{marker}") == KILLED
    assert not marker.exists()
    assert run(tmp_path, f"after_upload:{marker}") == THROUGH


def test_a_folder_kills_once_at_each_point_that_a_file_is_named_for(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.mkdir()
    for point in ("before_upload", "after_upload"):
        (armed / point).touch()
    assert run(tmp_path, "armed/") == (-signal.SIGKILL, [])
    assert run(tmp_path, "armed/") == KILLED
    assert run(tmp_path, "armed/") == THROUGH
    assert list(armed.iterdir()) == []


def test_a_file_that_names_a_signal_sends_that(tmp_path: Path) -> None:
    (tmp_path / "before_upload").write_text("SIGTERM\n")
    assert run(tmp_path, f"{tmp_path}/") == (-signal.SIGTERM, [])
