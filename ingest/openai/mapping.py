"""How ``/v1/videos`` speaks of jobs: models, seconds, sizes, statuses, progress. Pure.

The rules, all of them exact both ways, so that nobody gets another video than they asked for:

- A clip of ``seconds`` s has ``6 * ceil(5 * s) + 1`` frames at 30 a second: a first one and then
  whole latents of six. Seconds are given in decimals ("4", "2.5"), above 0 and at most 10; what
  lies between two fifths of a second is rounded up. A clip of n frames has (n - 1) / 30 seconds.
- A ``size`` is WIDTHxHEIGHT in pixels and is taken as it is: multiples of 16, at most 1360x768.
- The one model is ``mochi-1``. What asks for another, such as sora-2, gets no Mochi in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final, Literal

from schemas.job import (
    DEFAULTS,
    FPS,
    MAX_FRAMES,
    MAX_HEIGHT,
    MAX_WIDTH,
    MIN_SIDE,
    MODEL,
    SIDE_STEP,
)

#: What can be asked for, as regular expressions for documents.
SECONDS_PATTERN: Final = r"^([1-9](\.[0-9]{1,6})?|10|0\.[0-9]{0,5}[1-9])$"
SIZE_PATTERN: Final = "^({})x({})$".format(
    *(
        "|".join(str(side) for side in range(MIN_SIDE, most + 1, SIDE_STEP))
        for most in (MAX_WIDTH, MAX_HEIGHT)
    )
)

VideoStatus = Literal["queued", "in_progress", "completed", "failed", "cancelled"]

#: How this API names the model; also taken are the name of its weights and their full name.
NAME: Final = "mochi-1"
MODELS: Final = frozenset({NAME, "mochi-1-preview", MODEL})
#: Frames that one latent frame decodes to, after the first.
_LATENT: Final = 6
_SECONDS: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")
_SIZE: Final = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")
_STATUS: Final[Mapping[str, VideoStatus]] = {
    "pending": "queued",
    "processing": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


def frames_of(seconds: str) -> int | None:
    """Frames of a clip of so many seconds; None: not a length that can be made."""
    if not _SECONDS.fullmatch(seconds):
        return None
    length = Decimal(seconds)
    latents = (length * FPS / _LATENT).to_integral_value(ROUND_CEILING)
    frames = _LATENT * int(latents) + 1
    return frames if length > 0 and frames <= MAX_FRAMES else None


def seconds_of(frames: int) -> str:
    """The length of a clip, in the shortest decimal form: what gives ``frames`` again."""
    tenths = (frames - 1) * 10 // FPS
    return str(tenths // 10) if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10}"


def sides_of(size: str) -> tuple[int, int] | None:
    """Width and height in ``size``; None: it has another form. Whether they suit is not asked."""
    found = _SIZE.fullmatch(size)
    return None if found is None else (int(found[1]), int(found[2]))


def video_status(row: Mapping[Any, Any]) -> VideoStatus:
    """The status of a job's row, as this API names it."""
    return _STATUS[row["status"]]


def progress_of(row: Mapping[Any, Any]) -> int:
    """Percent of the denoising that is done, rounded down; 100 only once there is a video."""
    if row["status"] == "completed":
        return 100
    report = row.get("progress") or {}
    step, total = report.get("step") or 0, report.get("total") or 0
    return min(99, max(0, 100 * step // total)) if total > 0 else 0


def spec_value(row: Mapping[Any, Any], name: str) -> Any:
    """A field of the job's spec; of a job that was refused unread, what the field is by default."""
    spec = row["spec"] or {}
    return spec.get(name, DEFAULTS.get(name))


def poll_after_ms(age_s: float) -> int:
    """When to ask again for a job of that age: 1 s at first, a twentieth of its age, at most 10 s.

    Args:
        age_s: Seconds since the job was made; a lying clock's negative ones are none.
    """
    return int(1000 * min(10.0, max(1.0, age_s / 20)))
