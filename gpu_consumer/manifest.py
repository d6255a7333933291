"""What it takes to render a video again and compare: stored beside it, hashed into its seal."""

from __future__ import annotations

import json
from typing import Final

from gpu_consumer.attempt import Attempt
from gpu_consumer.render.events import Ready
from schemas.job import FPS

_VERSION: Final = 1


def manifest(attempt: Attempt, ready: Ready) -> str:
    """The manifest of a finished render, as JSON.

    Args:
        attempt: The render; its ``frames_sha256`` is known.
        ready: What rendered it.
    """
    return json.dumps(
        {
            "version": _VERSION,
            "job_id": attempt.job.job_id,
            "attempt": attempt.number,
            "spec": attempt.job.spec.model_dump(),
            "spec_digest": attempt.job.spec_digest,
            "fps": FPS,
            "frames_sha256": attempt.frames_sha256,
            "resumed_from": attempt.resumed_from,
            "model": ready.model,
            "device": ready.device_name,
            "dtype": ready.dtype,
            "fingerprint": ready.fingerprint,
            "libraries": ready.libraries,
        },
        sort_keys=True,
    )
