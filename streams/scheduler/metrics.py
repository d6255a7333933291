"""Metrics of the scheduler, each declared once."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from schemas.job import PRIORITIES
from schemas.records import SlotState
from streams.scheduler.retries import reserved
from streams.scheduler.state import State

#: Facts folded. Labels: kind, one of the kinds of PoolFact.
FACTS: Final = Counter("ttv_scheduler_facts", "Facts folded.", ["kind"])
#: Slots fenced because they fell silent.
FENCES: Final = Counter("ttv_scheduler_fences", "Slots fenced.")
#: Restores of the state: one for each start or take-over.
RESTORES: Final = Counter("ttv_scheduler_restores", "State restores.")
#: From the first record of a batch to its commit.
BATCH_SECONDS: Final = Histogram("ttv_scheduler_batch_seconds", "Fold and commit of a batch.")
#: Waiting jobs. Labels: priority.
WAITING: Final = Gauge("ttv_scheduler_waiting", "Jobs waiting.", ["priority"])
#: What the pool's retry budget would have one more failed job wait.
RETRY_DELAY: Final = Gauge("ttv_retry_budget_delay_seconds", "Delay of one more retry.")
#: Slots by what they do. Labels: state (free, busy, quarantined, closed).
SLOTS: Final = Gauge("ttv_scheduler_slots", "Slots.", ["state"])


def observe(state: State, retry_earn: timedelta) -> None:
    """Report how many jobs wait, what the slots do, and what is left of the retry budget."""
    RETRY_DELAY.set(reserved(state, retry_earn)[1].total_seconds())
    waiting = dict.fromkeys(PRIORITIES, 0)
    for job in state.jobs.values():
        if job.phase == "waiting" and job.job.priority in waiting:
            waiting[job.job.priority] += 1
    for priority, count in waiting.items():
        WAITING.labels(priority).set(count)
    slots = {"free": 0, "busy": 0, "quarantined": 0, "closed": 0}
    for slot in state.slots.values():
        slots[_doing(slot)] += 1
    for name, count in slots.items():
        SLOTS.labels(name).set(count)


def _doing(slot: SlotState) -> str:
    if slot.phase != "open":
        return "closed"
    if slot.quarantined:
        return "quarantined"
    return "busy" if slot.job_id else "free"
