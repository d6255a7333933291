"""Metrics of a GPU consumer, each declared once."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

#: Attempts that ended. Labels: outcome (completed, cancelled, failed, duplicate, preempted).
ATTEMPTS: Final = Counter("ttv_gpu_attempts", "Attempts ended.", ["outcome"])
#: Checkpoints that reached the store.
CHECKPOINTS: Final = Counter("ttv_gpu_checkpoints", "Checkpoints stored.")
#: Denoising steps that a checkpoint saved from being computed again.
STEPS_SAVED: Final = Counter("ttv_gpu_steps_saved", "Steps taken from checkpoints.")
#: Stored checkpoints and seals that failed their checks and were set aside: alarm.
REJECTED: Final = Counter("ttv_gpu_rejected", "Stored objects set aside.")
#: 1 while the slot takes no work because it failed several jobs in a row: alarm.
QUARANTINED: Final = Gauge("ttv_slot_quarantined", "The slot is quarantined.")
#: From the child's start on a job to its MP4.
RENDER_SECONDS: Final = Histogram(
    "ttv_gpu_render_seconds", "Render of a job.", buckets=(0.1, 0.5, 1, 5, 15, 60, 180, 360, 600)
)
