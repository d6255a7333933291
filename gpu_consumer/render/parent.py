"""The render child's view of the renderer that owns it: two pipes."""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from typing import Any, Final

from gpu_consumer.render.failures import Interrupted
from gpu_consumer.render.protocol import LineReader, ProtocolError, pack

#: Seconds between signs of life inside a phase.
ALIVE_EVERY: Final = 1.0


class Parent:
    """The two pipes to the renderer."""

    def __init__(self, commands: int, events: int) -> None:
        self._commands, self._events = commands, events
        self._reader = LineReader()
        self._last = 0.0
        self._cancelled = 0
        self._wanted = 0
        self._speaking = threading.Lock()
        self.jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read(self) -> None:
        """Takes messages until the renderer is gone, then ends the process."""
        try:
            while data := os.read(self._commands, 65536):
                for message in self._reader.feed(data):
                    if message["kind"] == "cancel":
                        self._cancelled = int(message["run"])
                    elif message["kind"] == "checkpoint":
                        self._wanted = int(message["run"])
                    else:
                        self.jobs.put(message)
        except (OSError, ProtocolError, KeyError, ValueError):
            traceback.print_exc(limit=0)
        os._exit(0)

    def say(self, kind: str, **fields: Any) -> None:
        """Sends one event; blocks while the renderer does not read. Any thread may call it."""
        line = memoryview(pack(kind, fields))
        with self._speaking:
            self._last = time.monotonic()
            while line:
                line = line[os.write(self._events, line) :]

    def cancelled(self, run: int) -> bool:
        """Whether job number ``run`` is to stop."""
        return self._cancelled >= run

    def checkpoint_wanted(self, run: int) -> bool:
        """Whether a checkpoint of job number ``run`` has been asked for since the last call."""
        wanted = self._wanted == run
        if wanted:
            self._wanted = 0
        return wanted

    def alive(self, run: int) -> None:
        """A sign of life inside a long phase.

        Raises:
            Interrupted: the job is to stop.
        """
        if self.cancelled(run):
            raise Interrupted
        if time.monotonic() - self._last >= ALIVE_EVERY:
            self.say("alive", run=run)
