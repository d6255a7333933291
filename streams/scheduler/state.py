"""The scheduler's state: what the fold reads and changes, and what a transaction must store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from schemas.records import (
    Cursor,
    EarlyCancel,
    EndedJob,
    Job,
    JobState,
    PoolState,
    SlotState,
    Tenant,
)
from streams.scheduler import clock
from streams.scheduler.policy import Policy

CURSOR_KEY = "cursor"


class State:
    """Everything a pool's scheduler knows. All changes go through the methods, which note them.

    Attributes:
        cursor: How far the inbox is folded.
        jobs: Waiting and running jobs, by id.
        slots: Known slots, by number.
        ended: Ended jobs of the dedupe window, by id, oldest first.
        early_cancels: Cancels for jobs not seen yet, by id and tenant, oldest first.
        tenants: Limits that differ from the default, by tenant.
        policy: Index over the waiting jobs.
    """

    def __init__(self, cursor: Cursor, policy: Policy) -> None:
        self.cursor = cursor
        self.policy = policy
        self.jobs: dict[str, JobState] = {}
        self.slots: dict[int, SlotState] = {}
        self.ended: dict[str, EndedJob] = {}
        self.early_cancels: dict[str, EarlyCancel] = {}
        self.tenants: dict[str, Tenant] = {}
        self._dirty: dict[str, PoolState | None] = {}

    @property
    def now(self) -> datetime:
        """Fold time: what the fold's own periods are counted in; never goes back."""
        return self.cursor.now

    @property
    def wall(self) -> datetime:
        """The broker's time as it is: what others' deadlines are compared with."""
        return clock.wall(self.cursor)

    @property
    def settled(self) -> bool:
        """Whether deadlines may be judged; see :mod:`streams.scheduler.clock`."""
        return clock.settled(self.cursor)

    def deadline_passed(self, job: Job) -> bool:
        """Whether the job had to start by now."""
        return job.expires_at is not None and job.expires_at <= self.wall

    def advance(self, offset: int, at: datetime, leap: timedelta) -> None:
        """The fact at ``offset`` with broker time ``at`` is being folded."""
        self.cursor = clock.advanced(self.cursor, offset, at, leap)

    def spend_retry(self, tat_ms: int) -> None:
        """Store what the retry budget has come to."""
        self.cursor = self.cursor.model_copy(update={"retry_tat_ms": tat_ms})

    def working(self) -> list[SlotState]:
        """The slots that work, or would: open and not quarantined."""
        return [s for s in self.slots.values() if s.phase == "open" and not s.quarantined]

    def put_job(self, job: JobState) -> None:
        """Store a waiting or running job."""
        job_id = job.job.job_id
        self.jobs[job_id] = job
        if job.phase == "waiting":
            self.policy.add(job)
        else:
            self.policy.discard(job_id)
        self._dirty[f"job:{job_id}"] = PoolState(kind="job", job=job)

    def end_job(self, ended: EndedJob) -> None:
        """Forget a job's work and remember that it ended."""
        if self.jobs.pop(ended.job_id, None) is not None:
            self.policy.discard(ended.job_id)
            self._dirty[f"job:{ended.job_id}"] = None
        self.ended[ended.job_id] = ended
        self._dirty[f"ended:{ended.job_id}"] = PoolState(kind="ended", ended=ended)

    def put_slot(self, slot: SlotState) -> None:
        """Store a slot."""
        self.slots[slot.slot] = slot
        self._dirty[f"slot:{slot.slot}"] = PoolState(kind="slot", slot=slot)

    def put_early_cancel(self, cancel: EarlyCancel) -> None:
        """Remember a cancel for a job not seen yet; other tenants' wishes do not replace it."""
        key = f"{cancel.job_id}/{cancel.tenant_id}"
        self.early_cancels[key] = cancel
        self._dirty[f"early_cancel:{key}"] = PoolState(kind="early_cancel", early_cancel=cancel)

    def take_early_cancel(self, job_id: str, tenant_id: str) -> bool:
        """Whether the job's own tenant has asked to cancel it; the wish is used up."""
        key = f"{job_id}/{tenant_id}"
        if key not in self.early_cancels:
            return False
        self._drop_early_cancel(key)
        return True

    def _drop_early_cancel(self, key: str) -> None:
        del self.early_cancels[key]
        self._dirty[f"early_cancel:{key}"] = None

    def put_tenant(self, tenant: Tenant) -> None:
        """Store a tenant's limits."""
        self.tenants[tenant.tenant_id] = tenant
        self._dirty[f"tenant:{tenant.tenant_id}"] = PoolState(kind="tenant", tenant=tenant)

    def forget_ended(self, before: datetime) -> None:
        """Drop what ended, and early cancels that were asked for, before a time."""
        while self.ended:
            oldest = next(iter(self.ended.values()))
            if oldest.ended_at >= before:
                break
            del self.ended[oldest.job_id]
            self._dirty[f"ended:{oldest.job_id}"] = None
        for key, cancel in list(self.early_cancels.items()):
            if cancel.asked_at >= before:
                break
            self._drop_early_cancel(key)

    def changes(self) -> Iterator[tuple[str, PoolState | None]]:
        """What changed since the last call, by key, the cursor last; None is a tombstone."""
        yield from self._dirty.items()
        self._dirty = {}
        yield CURSOR_KEY, PoolState(kind="cursor", cursor=self.cursor)

    def load(self, key: str, entry: PoolState | None) -> None:
        """Apply one record of the state topic while restoring.

        Raises:
            ValueError: the entry is of a kind this version does not know.
        """
        kind, _, rest = key.partition(":")
        if entry is None:
            self._unload(kind, rest)
        elif entry.cursor is not None:
            self.cursor = entry.cursor
        elif entry.job is not None:
            self.put_job(entry.job)
        elif entry.slot is not None:
            self.put_slot(entry.slot)
        elif entry.ended is not None:
            self.ended.pop(rest, None)
            self.ended[rest] = entry.ended
        elif entry.early_cancel is not None:
            self.put_early_cancel(entry.early_cancel)
        elif entry.tenant is not None:
            self.put_tenant(entry.tenant)
        else:
            raise ValueError(f"unknown kind of state: {entry.kind[:40]}")
        self._dirty = {}

    def _unload(self, kind: str, rest: str) -> None:
        if kind == "job":
            self.jobs.pop(rest, None)
            self.policy.discard(rest)
        elif kind == "ended":
            self.ended.pop(rest, None)
        elif kind == "early_cancel":
            self.early_cancels.pop(rest, None)
        else:
            raise ValueError(f"unexpected tombstone: {kind[:40]}")
