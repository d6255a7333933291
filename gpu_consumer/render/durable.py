"""Files that appear whole and stay, whatever is killed or loses its power."""

from __future__ import annotations

import os
from pathlib import Path


def publish(part: Path, path: Path) -> None:
    """Give the finished file ``part`` its name, once its bytes are durable; the name is, too.

    Raises:
        OSError: the disk or the folder does not take it.
    """
    _sync(part)
    part.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
