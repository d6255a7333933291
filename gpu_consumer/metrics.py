"""Metrics of a GPU consumer, each declared once."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

#: Attempts that ended. Labels: outcome (completed, cancelled, failed, duplicate).
ATTEMPTS: Final = Counter("ttv_gpu_attempts", "Attempts ended.", ["outcome"])
#: From the child's start on a job to its MP4.
RENDER_SECONDS: Final = Histogram(
    "ttv_gpu_render_seconds", "Render of a job.", buckets=(0.1, 0.5, 1, 5, 15, 60, 180, 360, 600)
)
