"""What may be logged of an exception: where, never what."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

_FRAMES: Final = 8


def places(error: BaseException | None) -> list[str]:
    """File, line and function of the innermost frames.

    The message stays out: those of databases and validators may quote a prompt.
    """
    if error is None:
        return []
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
