"""The supervisor with programs of a line: restarts, order of stopping, and nothing left behind."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from infra.stack import supervision
from infra.stack.layout import Layout
from infra.stack.program import Program
from infra.stack.supervision import Supervisor

T = TypeVar("T")
_DEADLINE = 20.0
_START_AND_WAIT = """
import sys
from infra.stack import supervision
from infra.stack.layout import Layout
layout = Layout.of(sys.argv[1])
supervision.start(layout, supervision.acquire(layout), tied=True).wait()
"""


def wait_for(ask: Callable[[], T | None], what: str) -> T:
    """What ``ask`` returns once it is not None."""
    deadline = time.monotonic() + _DEADLINE
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until_gone(*pids: int) -> None:
    wait_for(lambda: None if any(map(alive, pids)) else True, f"{pids} to end")


def pid_of(layout: Layout, name: str, state: str = "RUNNING", other_than: int = -1) -> int:
    """The pid of a program once it is in ``state``."""

    def ask() -> int | None:
        try:
            processes = Supervisor(layout).processes()
        except supervision.NotRunningError:
            return None
        for process in processes:
            if (process["name"], process["statename"]) == (name, state):
                return None if process["pid"] == other_than else int(process["pid"])
        return None

    return wait_for(ask, f"{name} to be {state}")


def script(name: str, text: str, group: str = "infra") -> Program:
    """A shell program; it settles at once."""
    assert group in ("infra", "apps", "gpus")
    return Program(name, ["/bin/sh", "-c", text], group=group, settled_seconds=0)  # type: ignore[arg-type]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A folder for one supervisor."""
    made = Layout.of(tmp_path / "data")
    made.create()
    return made


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a supervisor with programs in a folder; it is stopped at the end."""
    started: list[tuple[Layout, subprocess.Popen[bytes]]] = []

    def begin(layout: Layout, *programs: Program) -> subprocess.Popen[bytes]:
        supervision.configure(layout, programs, [])
        lock = supervision.acquire(layout)
        try:
            supervisord = supervision.start(layout, lock, tied=True)
        finally:
            os.close(lock)
        started.append((layout, supervisord))
        return supervisord

    yield begin
    for layout, supervisord in started:
        if supervision.is_running(layout):
            supervision.stop(layout, 10.0)
        supervisord.wait(10)


def test_a_killed_program_is_restarted(layout: Layout, start: Start) -> None:
    supervisord = start(layout, script("sleeper", "exec sleep 1000"))
    first = pid_of(layout, "sleeper")
    os.kill(first, signal.SIGKILL)
    assert pid_of(layout, "sleeper", other_than=first) != first
    supervision.stop(layout, 10.0)
    assert supervisord.wait(10) == 0


def test_a_program_that_keeps_ending_is_tried_again_with_growing_pauses(
    layout: Layout, start: Start
) -> None:
    start(layout, Program("failing", ["/bin/false"]))
    log = layout.logs / "supervisord.log"

    def spawned() -> list[dt.datetime] | None:
        text = log.read_text() if log.exists() else ""
        lines = [line for line in text.splitlines() if "spawned: 'failing'" in line]
        times = [dt.datetime.fromisoformat(line[:23].replace(",", ".")) for line in lines]
        return times if len(times) >= 4 else None

    times = wait_for(spawned, "four starts")
    pauses = [(after - before).total_seconds() for before, after in itertools.pairwise(times)]
    assert all(pause >= number for number, pause in enumerate(pauses, start=1))


def test_a_killed_supervisor_takes_its_programs_along(layout: Layout, start: Start) -> None:
    supervisord = start(layout, script("stubborn", "trap '' TERM; while :; do sleep 0.1; done"))
    stubborn = pid_of(layout, "stubborn")
    supervisord.kill()
    supervisord.wait(10)
    until_gone(stubborn)
    assert not supervision.is_running(layout)


def test_consumers_stop_before_the_servers_they_need(layout: Layout, start: Start) -> None:
    ends = layout.work / "ends"
    text = "trap 'sleep 0.3; echo {0} >> {1}; exit 0' TERM; while :; do sleep 0.05; done"
    groups = {"kafka": "infra", "worker": "apps", "gpu-0": "gpus"}
    supervisord = start(
        layout, *(script(name, text.format(name, ends), group) for name, group in groups.items())
    )
    pid_of(layout, "kafka")
    for group in ("apps", "gpus"):
        Supervisor(layout).start_group(group)
    pid_of(layout, "gpu-0")
    # The shell must have set its trap: it has once it spawned its first sleep.
    for name in groups:
        pid = pid_of(layout, name)
        children = Path(f"/proc/{pid}/task/{pid}/children")
        wait_for(lambda path=children: path.read_text() or None, f"{name} to run")  # type: ignore[misc]
    supervision.stop(layout, 20.0)
    supervisord.wait(10)
    assert ends.read_text().split() == ["gpu-0", "worker", "kafka"]


def test_the_folder_is_locked_while_the_supervisor_runs(layout: Layout, start: Start) -> None:
    supervisord = start(layout, script("sleeper", "exec sleep 1000"))
    with pytest.raises(supervision.AlreadyRunningError, match="already running"):
        supervision.acquire(layout)
    supervisord.kill()
    supervisord.wait(10)
    os.close(supervision.acquire(layout))


def test_a_program_stopped_by_hand_stays_stopped_until_it_is_started(
    layout: Layout, start: Start
) -> None:
    start(layout, script("sleeper", "exec sleep 1000"))
    first = pid_of(layout, "sleeper")
    Supervisor(layout).stop_process("sleeper")
    assert not alive(first)
    assert pid_of(layout, "sleeper", "STOPPED") == 0
    Supervisor(layout).start_process("sleeper")
    assert pid_of(layout, "sleeper", other_than=first)


def test_the_supervisor_ends_in_order_when_who_started_it_is_killed(layout: Layout) -> None:
    supervision.configure(layout, [script("sleeper", "exec sleep 1000")], [])
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _START_AND_WAIT,
            str(layout.data),
        ]
    )
    sleeper = pid_of(layout, "sleeper")
    parent.kill()
    parent.wait(10)
    until_gone(sleeper)
    wait_for(lambda: None if supervision.is_running(layout) else True, "the supervisor to end")
    assert "stopped: sleeper" in (layout.logs / "supervisord.log").read_text()


def test_neither_configuration_nor_process_list_shows_a_secret(
    layout: Layout, start: Start
) -> None:
    program = Program(
        "app", ["/bin/sleep", "1000"], env={"TTV_API_KEY": "s3cret"}, settled_seconds=0
    )
    start(layout, program)
    pid = pid_of(layout, "app")
    environment = Path(f"/proc/{pid}/environ")
    wait_for(lambda: b"TTV_API_KEY=s3cret" in environment.read_bytes() or None, "its secret")
    assert "s3cret" not in layout.supervisor_config.read_text()
    assert b"s3cret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert layout.programs.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["with space", "100%y", "a;b", "quo'te"])
def test_folders_of_any_name(tmp_path: Path, start: Start, name: str) -> None:
    layout = Layout.of(tmp_path / name)
    layout.create()
    start(layout, script("sleeper", "echo here; exec sleep 1000"))
    pid_of(layout, "sleeper")
    log = layout.logs / "sleeper.log"
    wait_for(lambda: log.read_text() or None if log.exists() else None, "its log")
