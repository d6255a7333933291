"""A local stack as an object: start it, look at it, break parts of it, stop it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from infra.setup import paths
from infra.stack import identity, keeper, probes, secure, servers, services, starter, supervision
from infra.stack import info as info_file
from infra.stack.atomic import write_private
from infra.stack.info import Process, StackInfo
from infra.stack.layout import Layout
from infra.stack.supervision import Supervisor

#: Which part to start: ``"infra"`` for the servers alone, None for everything.
Only = Literal["infra"] | None

_PORTS_SECONDS = 5.0
_STOP_SECONDS = 75.0
# A stage that failed so often is not going to succeed: servers have had a minute by then.
_TRIES = {"servers": 1, "provision": 3, "service": 3}


class StackError(Exception):
    """The stack did not come up; the message holds the end of the log that tells why."""


class Stack:
    """A stack in a folder, running or not.

    As a context manager it is stopped at the end.
    """

    def __init__(self, data: Path | str) -> None:
        """A handle on the stack in ``data``; starts nothing."""
        self.layout = Layout.of(data)
        self._supervisord: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(  # noqa: PLR0913 keyword arguments, each with a default
        cls,
        data: Path | str,
        *,
        gpus: int = 2,
        only: Only = None,
        secured: bool = False,
        env: Mapping[str, str] | None = None,
        env_of: Mapping[str, Mapping[str, str]] | None = None,
        timeout: float = 180.0,
        tied: bool = True,
        progress: Callable[[str], None] = lambda _stage: None,
    ) -> Self:
        """Start the stack in ``data`` and return once it is ready.

        Args:
            data: its folder, made if absent; what an earlier run left there is used again.
            gpus: number of GPU consumers.
            only: ``"infra"`` starts the servers alone.
            secured: Kafka asks for a password over TLS, and grants each part what it needs.
            env: ``TTV_`` settings for the service's processes that win over the stack's own.
            env_of: environment of single programs, servers included, by name; wins over all.
            timeout: seconds until it must be ready.
            tied: stop it when the calling thread ends, however that ends.
            progress: told each stage of the start.

        Raises:
            AlreadyRunningError: if one runs there.
            StackError: if it did not come up; it is stopped again then.
        """
        stack = cls(data)
        stack._launch(gpus, only, env or {}, env_of or {}, secured=secured, tied=tied)
        try:
            stack._wait_until_ready(only, time.monotonic() + timeout, progress)
        except BaseException:
            stack.stop()
            raise
        return stack

    @property
    def info(self) -> StackInfo:
        """The content of ``stack.json``, its processes as they are now."""
        known = info_file.read(self.layout.info)
        try:
            return info_file.with_processes(known, keeper.current(self.layout))
        except supervision.NotRunningError:
            return info_file.with_processes(known, [])

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor."""
        return int(self.layout.supervisor_pidfile.read_text())

    def is_running(self) -> bool:
        """Whether a supervisor runs in this folder."""
        return supervision.is_running(self.layout)

    def stop(self, timeout: float = _STOP_SECONDS) -> None:
        """Stop everything, the consumers before Kafka; does nothing when nothing runs."""
        with contextlib.suppress(supervision.NotRunningError):
            supervision.stop(self.layout, timeout)
            self.layout.forget_socket()
        if self._supervisord is not None:
            self._supervisord.wait(10)
            self._supervisord = None

    def process(self, name: str) -> Process:
        """The process ``name`` as it is now.

        Raises:
            KeyError: if there is none of that name.
        """
        return self.info.process(name)

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to the process ``name``; returns the pid that got it."""
        pid = self.process(name).pid
        if pid == 0:
            raise ProcessLookupError(f"{name} is not running")
        os.kill(pid, number)
        return pid

    def stop_process(self, name: str) -> None:
        """Stop the process ``name`` and keep it stopped."""
        Supervisor(self.layout).stop_process(name)

    def start_process(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Start the stopped process ``name``, from now on with the settings ``env`` added."""
        if env:
            content = json.loads(self.layout.programs.read_text())
            content["programs"][name]["env"].update(env)
            write_private(self.layout.programs, json.dumps(content, indent=1))
        Supervisor(self.layout).start_process(name)

    def wait_for_restart(self, name: str, old_pid: int, timeout: float = 30.0) -> int:
        """Wait until the process ``name`` runs with a pid other than ``old_pid``; returns it.

        Raises:
            TimeoutError: if it does not within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while (pid := self.process(name).pid) in (0, old_pid):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not restart:\n{self.log_tail(name)}")
            time.sleep(0.05)
        return pid

    def log_tail(self, name: str, lines: int = 40) -> str:
        """The last ``lines`` lines of the log of ``name``."""
        log = self.layout.logs / f"{name}.log"
        if not log.exists():
            return ""
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 256 * lines))
            text = file.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def wait(self) -> int:
        """Wait until the supervisor that this object started ends; returns its status."""
        return 0 if self._supervisord is None else self._supervisord.wait()

    def _launch(
        self,
        gpus: int,
        only: Only,
        env: Mapping[str, str],
        env_of: Mapping[str, Mapping[str, str]],
        *,
        secured: bool,
        tied: bool,
    ) -> None:
        layout = self.layout
        _require_setup()
        layout.create()
        lock = supervision.acquire(layout)
        try:
            layout.supervisor_pidfile.unlink(missing_ok=True)
            starter.progress_file(layout).unlink(missing_ok=True)
            known = _identity(layout, gpus)
            described = services.describe(layout, known, gpus, secured=secured)
            info_file.write(layout.info, described)
            made = [servers.kafka(layout, known, secured=secured)]
            made += [make(layout, known) for make in _SERVERS]
            if only is None:
                made += services.programs(layout, known, described, gpus, env)
            made = [
                dataclasses.replace(each, env={**each.env, **env_of.get(each.name, {})})
                for each in made
            ]
            described = dataclasses.replace(
                described, metrics=described.metrics if only is None else []
            )
            arguments: list[str] = [] if only is None else [only]
            helpers = [
                services.helper(layout, "keeper", [], described),
                services.helper(layout, "starter", arguments, described),
            ]
            info_file.write(layout.info, described)
            supervision.configure(layout, made, helpers)
            self._supervisord = supervision.start(layout, lock, tied=tied)
        finally:
            os.close(lock)

    def _wait_until_ready(
        self, only: Only, deadline: float, progress: Callable[[str], None]
    ) -> None:
        stage = ""
        while True:
            seen = starter.read_progress(self.layout)
            if seen.stage != stage:
                stage = seen.stage
                progress(stage)
            if seen.stage == "done":
                break
            if (
                seen.failures >= _TRIES[seen.stage]
                or time.monotonic() > deadline
                or not self._lives()
            ):
                raise self._failure(seen)
            time.sleep(0.1)
        if only is None:
            self._wait_for_service(deadline)

    def _wait_for_service(self, deadline: float) -> None:
        ready = f"{info_file.read(self.layout.info).http}/readyz"
        remaining = max(0.0, deadline - time.monotonic())
        try:
            probes.wait_for({"api": lambda: probes.http(ready)}, remaining, alive=self._lives)
        except probes.UnreachableError as error:
            raise StackError(f"{error}\n--- api.log\n{self.log_tail('api')}") from error
        while waiting := [p.name for p in self.info.processes if p.state != "RUNNING"]:
            if time.monotonic() > deadline or not self._lives():
                logs = "\n".join(f"--- {name}.log\n{self.log_tail(name)}" for name in waiting)
                raise StackError(f"not running: {', '.join(waiting)}\n{logs}")
            time.sleep(0.1)

    def _lives(self) -> bool:
        return self._supervisord is not None and self._supervisord.poll() is None

    def _failure(self, seen: starter.Progress) -> StackError:
        if not self._lives():
            output = (self.layout.logs / "supervisord.out").read_text(errors="replace")[-4000:]
            return StackError(f"the supervisor ended:\n{output}")
        culprit = seen.culprit or "starter"
        reason = seen.error or f"not ready in time while waiting for: {seen.stage}"
        return StackError(f"{reason}\n--- {culprit}.log\n{self.log_tail(culprit)}")

    def __enter__(self) -> Self:
        """The stack itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()


_SERVERS = (servers.registry, servers.s3, servers.postgres, servers.valkey)


def _require_setup() -> None:
    lacking = [path for path in (paths.KAFKA, paths.REGISTRY, paths.VERSITYGW) if not path.exists()]
    if lacking:
        names = ", ".join(str(path.relative_to(paths.ROOT)) for path in lacking)
        raise StackError(f"{names} missing: run 'make setup'")


def _identity(layout: Layout, gpus: int) -> identity.Identity:
    # Right after a kill, the old processes may hold their ports for another moment.
    if layout.identity.exists():
        ports = json.loads(layout.identity.read_text())["ports"].values()
        deadline = time.monotonic() + _PORTS_SECONDS
        while time.monotonic() < deadline and not all(map(identity.is_free, ports)):
            time.sleep(0.05)
    return identity.load_or_create(layout.identity, services.port_names(gpus), secure.PRINCIPALS)
