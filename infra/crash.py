"""Named crash points: ``TTV_CRASH_AT`` has a process die by SIGKILL at a commit edge.

Three forms:

- ``after_upload``: dies there, every time.
- ``after_upload:PATH``: while the file PATH exists, removing it first: one crash, however often
  the process is restarted.
- ``FOLDER/``: at each point that a file in FOLDER is named for, removing it first. A running
  process is armed by making the file; a file that holds ``SIGSTOP`` freezes the process there
  instead. A relative FOLDER lies in the process's working folder, so that one setting serves all
  processes of a stack and each can be armed by itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from infra.settings import settings


def crash_point(name: str, first: Callable[[], object] | None = None) -> None:
    """Die here, or freeze, if the settings say so.

    Args:
        name: Of this point.
        first: Done before dying, and only then: what makes the moment worth dying in, such as
            having the records of an open transaction reach the broker.
    """
    wanted = settings().crash_at
    number = None if wanted is None else _due(name, wanted)
    if number is None:
        return
    if first is not None:
        first()
    os.kill(os.getpid(), number)


def _due(name: str, wanted: str) -> signal.Signals | None:
    """The signal, if it is this point's turn; of several who reach it at once, one gets it."""
    if wanted.endswith("/"):
        return _taken(Path(wanted) / name)
    point, _, marker = wanted.partition(":")
    if point != name:
        return None
    return _taken(Path(marker)) if marker else signal.SIGKILL


def _taken(marker: Path) -> signal.Signals | None:
    try:
        told = marker.read_text().strip()
        marker.unlink()
    except FileNotFoundError:
        return None
    return signal.Signals[told] if told else signal.SIGKILL
