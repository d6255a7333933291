"""Keeps ``stack.json`` current: an event listener of supervisord, told of each change of state.

Run by the supervisor: ``python -m infra.stack keeper DIR``.
"""

from __future__ import annotations

import os
import signal
import sys
import xmlrpc.client
from types import FrameType
from typing import TextIO

from infra.stack import info
from infra.stack.layout import Layout
from infra.stack.supervision import NotRunningError, Supervisor

#: Processes of the stack itself, which ``stack.json`` does not list.
HELPERS = frozenset({"keeper", "starter"})


def current(layout: Layout) -> list[info.Process]:
    """The processes as supervisord knows them now.

    Raises:
        NotRunningError: if it does not answer.
    """
    return [
        info.Process(
            name=process["name"],
            pid=process["pid"],
            log=process["stdout_logfile"],
            state=process["statename"],
        )
        for process in Supervisor(layout).processes()
        if process["name"] not in HELPERS
    ]


def refresh(layout: Layout) -> None:
    """Write the processes into ``stack.json`` if they changed."""
    try:
        processes = current(layout)
    except (NotRunningError, OSError, xmlrpc.client.Fault):
        # supervisord is on its way down.
        return
    known = info.read(layout.info)
    if known.processes != processes:
        info.write(layout.info, info.with_processes(known, processes))


def clear(layout: Layout, supervisor: int) -> None:
    """Write that nothing runs, unless another than ``supervisor`` (a pid) runs here by now."""
    try:
        newest = int(layout.supervisor_pidfile.read_text())
    except FileNotFoundError:
        return
    if newest == supervisor:
        info.write(layout.info, info.with_processes(info.read(layout.info), []))


def listen(layout: Layout, events: TextIO, replies: TextIO) -> None:
    """Speak supervisord's event protocol until ``events`` ends."""
    refresh(layout)
    while True:
        print("READY", file=replies, flush=True)
        header = events.readline()
        if not header:
            return
        fields = dict(part.split(":", 1) for part in header.split())
        events.read(int(fields["len"]))
        refresh(layout)
        replies.write("RESULT 2\nOK")
        replies.flush()


def main(data: str) -> None:
    """Keep the file until supervisord ends or asks to stop."""
    layout = Layout.of(data)
    supervisor = os.getppid()

    def stop(_number: int, _frame: FrameType | None) -> None:
        clear(layout, supervisor)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    listen(layout, sys.stdin, sys.stdout)
    clear(layout, supervisor)
