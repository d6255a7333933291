"""supervisord for a stack: its configuration, and what is asked of it over its socket."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from infra.setup import paths
from infra.stack import launch
from infra.stack.atomic import write_private
from infra.stack.layout import Layout
from infra.stack.program import GROUPS, Program, base_environment

_LAUNCH = Path(launch.__file__)
_LOG_BYTES = 10 * 1024 * 1024
_LOG_BACKUPS = 2


class AlreadyRunningError(Exception):
    """A stack is running in this folder already: stop it first, or use another folder."""


class NotRunningError(Exception):
    """No stack is running in this folder: start it with ``ttv up``."""


def configure(layout: Layout, programs: Sequence[Program], helpers: Sequence[Program]) -> None:
    """Write supervisord's configuration and the file that ``launch.py`` reads.

    ``programs`` are the stack's own; of ``helpers``, one keeps ``stack.json`` and is an event
    listener (``keeper``), one brings the stack up and ends (``starter``).
    """
    content = {
        "supervisor_pidfile": str(layout.supervisor_pidfile),
        "programs": {p.name: _as_json(p) for p in (*programs, *helpers)},
    }
    write_private(layout.programs, json.dumps(content, indent=1))
    sections = [_supervisord_section(layout)]
    sections += [_helper_section(layout, helper) for helper in helpers]
    for order, group in enumerate(GROUPS):
        members = [program for program in programs if program.group == group]
        if members:
            names = ",".join(program.name for program in members)
            sections.append(f"[group:{group}]\nprograms={names}\npriority={order + 1}\n")
        sections += [_program_section(layout, program) for program in members]
    write_private(layout.supervisor_config, "\n".join(sections))


def _as_json(program: Program) -> dict[str, Any]:
    return {
        "argv": program.argv,
        "env": dict(program.env),
        "cwd": str(program.cwd),
        "user": program.user,
        "death_signal": program.death_signal,
    }


def _supervisord_section(layout: Layout) -> str:
    return f"""[supervisord]
nodaemon=true
silent=true
logfile={_escaped(layout.logs / "supervisord.log")}
logfile_maxbytes={_LOG_BYTES}
logfile_backups={_LOG_BACKUPS}
pidfile={_escaped(layout.supervisor_pidfile)}
childlogdir={_escaped(layout.logs)}
identifier=ttv

[unix_http_server]
file={_escaped(layout.socket)}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


def _launch_command(layout: Layout, name: str) -> str:
    argv = [sys.executable, "-I", "-S", str(_LAUNCH), str(layout.programs), name]
    return _escaped(shlex.join(argv))


def _log_lines(layout: Layout, name: str) -> str:
    return (
        f"stdout_logfile={_log_path(layout, name)}\n"
        f"stdout_logfile_maxbytes={_LOG_BYTES}\nstdout_logfile_backups={_LOG_BACKUPS}\n"
    )


def _program_section(layout: Layout, program: Program) -> str:
    return (
        f"[program:{program.name}]\n"
        f"command={_launch_command(layout, program.name)}\n"
        f"autostart={'true' if program.group == 'infra' else 'false'}\n"
        "autorestart=true\n"
        f"startsecs={program.settled_seconds}\n"
        # For ever; supervisor waits a second longer after each failure in a row.
        "startretries=1000000\n"
        f"stopsignal={program.stop_signal}\nstopwaitsecs={program.stop_seconds}\n"
        "redirect_stderr=true\n" + _log_lines(layout, program.name)
    )


def _helper_section(layout: Layout, program: Program) -> str:
    command = f"command={_launch_command(layout, program.name)}\n"
    log = f"stderr_logfile={_log_path(layout, program.name)}\n"
    if program.name == "keeper":
        return (
            f"[eventlistener:keeper]\n{command}events=PROCESS_STATE,TICK_5\nbuffer_size=100\n"
            f"priority=0\nautorestart=true\nstartretries=1000000\n{log}stdout_logfile=NONE\n"
        )
    return (
        f"[program:{program.name}]\n{command}autostart=true\nautorestart=unexpected\nexitcodes=0\n"
        "startsecs=0\nstartretries=1000000\npriority=999\nredirect_stderr=true\n"
        + _log_lines(layout, program.name)
    )


def _log_path(layout: Layout, name: str) -> str:
    # A program's log file is expanded twice.
    return _escaped(_escaped(layout.logs / f"{name}.log"))


def _escaped(value: Path | str) -> str:
    # supervisord expands %(name)s, and takes " ;" for the start of a comment.
    text = str(value).replace("%", "%%")
    if " ;" in text or "\n" in text:
        raise ValueError(f"supervisord cannot express {value!r}: use a folder with a plainer name")
    return text


def is_running(layout: Layout) -> bool:
    """Whether a supervisor holds the lock of this stack."""
    if not layout.lock.exists():
        return False
    with layout.lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def acquire(layout: Layout) -> int:
    """Lock the stack's folder; the descriptor is passed to supervisord, which then holds it.

    Raises:
        AlreadyRunningError: if it is locked.
    """
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunningError(
            f"a stack is already running in {layout.data}: see 'ttv status --data {layout.data}', "
            f"stop it with 'ttv down --data {layout.data}', or give another --data"
        ) from None
    return descriptor


def start(layout: Layout, lock: int, *, tied: bool) -> subprocess.Popen[bytes]:
    """Start supervisord with the locked descriptor ``lock``, in a session of its own.

    ``tied``: it gets SIGTERM from the kernel when this process ends, however it ends.
    """
    parent = os.getpid()

    def before_exec() -> None:
        if tied:
            launch.die_with_parent(parent, signal.SIGTERM)

    with (layout.logs / "supervisord.out").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(layout.supervisor_config)],
            cwd=paths.ROOT,
            env=base_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock,),
            start_new_session=True,
            # The child only calls prctl before exec; no lock of another thread is touched.
            preexec_fn=before_exec,  # noqa: PLW1509
        )


class _Connection(http.client.HTTPConnection):
    """HTTP over supervisord's UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.close()
            raise


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over supervisord's UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        # Kept as the base class keeps its own, so that close() closes it.
        connection = _Connection(self._path)
        self._connection = host, connection
        return connection


class Supervisor:
    """What is asked of a running supervisord.

    Every method raises NotRunningError when nothing answers on its socket.
    """

    def __init__(self, layout: Layout) -> None:
        """Connects at each call."""
        self._layout = layout

    def processes(self) -> list[dict[str, Any]]:
        """supervisord's record of each process: name, group, pid (0: none), statename, ..."""
        return cast("list[dict[str, Any]]", self._call("getAllProcessInfo"))

    def start_group(self, group: str) -> None:
        """Start the stopped programs of ``group`` without waiting for them."""
        self._call("startProcessGroup", group, False)

    def start_process(self, name: str) -> None:
        """Start the program ``name``, which was stopped; returns once it runs."""
        self._call("startProcess", self._qualified(name), True)

    def stop_process(self, name: str) -> None:
        """Stop the program ``name`` and keep it stopped; returns once it is gone."""
        self._call("stopProcess", self._qualified(name), True)

    def shutdown(self) -> None:
        """Stop every process, the last group first, then supervisord; returns at once."""
        self._call("shutdown")

    def _qualified(self, name: str) -> str:
        for process in self.processes():
            if process["name"] == name:
                return f"{process['group']}:{name}"
        raise KeyError(name)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = _Transport(self._layout.socket)
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        except (ConnectionError, FileNotFoundError) as error:
            raise NotRunningError(f"no stack is running in {self._layout.data}") from error
        finally:
            transport.close()


def stop(layout: Layout, timeout: float) -> None:
    """Stop the stack: gracefully, and after ``timeout`` seconds with SIGKILL.

    Killed, supervisord takes its children along: the kernel kills them.

    Raises:
        NotRunningError: if there is nothing to stop.
    """
    if not is_running(layout):
        raise NotRunningError(f"no stack is running in {layout.data}")
    deadline = time.monotonic() + timeout
    while not _ask_to_stop(layout) and is_running(layout) and time.monotonic() < deadline:
        # It holds the lock but has no socket yet: it is just starting.
        time.sleep(0.05)
    if not _wait_unlocked(layout, deadline - time.monotonic()):
        _signal(layout, signal.SIGKILL)
        _wait_unlocked(layout, 10.0)


def _ask_to_stop(layout: Layout) -> bool:
    try:
        Supervisor(layout).shutdown()
    except xmlrpc.client.Fault:
        # It is stopping already.
        return True
    except (NotRunningError, OSError, http.client.HTTPException):
        return False
    return True


def _signal(layout: Layout, number: signal.Signals) -> None:
    try:
        os.kill(int(layout.supervisor_pidfile.read_text()), number)
    except (OSError, ValueError):
        return


def _wait_unlocked(layout: Layout, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while is_running(layout):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
