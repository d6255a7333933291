"""The render child as an operating-system process: its pipes and its end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from typing import Final

#: Seconds to wait for a killed child. One that is stuck in the GPU's driver may take longer: it is
#: left to the kernel, and keeps the device's lock until it is gone.
REAP: Final = 3.0
READ: Final = 65536


class ChildProcess:
    """A running child. All calls return at once but ``wait`` and ``kill`` (bounded)."""

    def __init__(self) -> None:
        """Starts it.

        Raises:
            OSError: no process or pipe can be made.
        """
        command_out, self._commands = os.pipe()
        self._events, event_in = os.pipe()
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gpu_consumer.render.child"),
                    *("--commands", str(command_out), "--events", str(event_in)),
                    *("--parent", str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor() else subprocess.DEVNULL,
                pass_fds=(command_out, event_in),
                env=_environment(),
                # A Ctrl-C meant for the consumer must not cut the render that it drains.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._commands)
            os.close(self._events)
            raise
        finally:
            os.close(command_out)
            os.close(event_in)
        os.set_blocking(self._commands, False)
        os.set_blocking(self._events, False)
        self._unsent = bytearray()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, line: bytes) -> None:
        """Queues ``line`` and sends what the pipe takes now; ``exchange`` sends the rest."""
        self._unsent += line
        self._flush()

    def exchange(self, timeout: float) -> bytes | None:
        """Waits up to ``timeout`` s for bytes from the child; None: it has closed its end."""
        ready = select.poll()
        ready.register(self._events, select.POLLIN)
        if self._unsent:
            ready.register(self._commands, select.POLLOUT)
        ready.poll(max(timeout, 0.0) * 1000)
        self._flush()
        try:
            return os.read(self._events, READ) or None
        except BlockingIOError:
            return b""

    def wait(self, timeout: float) -> int | None:
        """Exit status (negative: a signal), or None when it still runs after ``timeout`` s."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Ends it and closes the pipes; may be called again."""
        if self._process.poll() is None:
            self._process.kill()
            self.wait(REAP)
        for pipe in (self._commands, self._events):
            if pipe >= 0:
                os.close(pipe)
        self._commands = self._events = -1

    def _flush(self) -> None:
        # A broken pipe shows as the child's end in the next exchange.
        with suppress(BlockingIOError, BrokenPipeError):
            while self._unsent:
                del self._unsent[: os.write(self._commands, self._unsent)]


def _environment() -> dict[str, str]:
    """What the child inherits: no setting of the service, least of all its secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TTV_")}


def _has_descriptor() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.fileno() >= 0
    except (OSError, ValueError):
        return False
