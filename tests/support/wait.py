"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    condition: Callable[[], bool], seconds: float = 30, told: Callable[[], str] = lambda: ""
) -> None:
    """Return once ``condition`` holds; fail with ``told()`` when it does not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {told()}"
        time.sleep(0.02)
