"""A device is one process's at a time. Runs in the render child."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from gpu_consumer.render.failures import ModelUnavailable

#: Seconds to wait for a device that a dead predecessor still holds.
WAIT: Final = 30.0


def take(path: Path, device: str, deadline: float) -> int:
    """Takes the lock ``path`` for this process, until it dies; returns its file descriptor.

    Args:
        path: its folder is made if it is not there.
        device: what it stands for, for the error.
        deadline: of ``time.monotonic``: until then, a predecessor that is still being torn down is
            waited for.

    Raises:
        ModelUnavailable: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(lock)
                raise ModelUnavailable(f"another process renders on {device}") from None
            time.sleep(0.05)
        else:
            return lock
