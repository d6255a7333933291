"""Every topic, declared once: record, key, partitions and configuration.

Time is the broker's everywhere (LogAppendTime): a lying client clock changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from schemas.job import PRIORITIES

_DAY_MS: Final = 86_400_000
_MIB: Final = 1024 * 1024

#: jobs.requested is kept for less than the dedupe window, so that no repeat outlives it.
REQUEST_RETENTION_DAYS: Final = 6
#: A year, and a month to look back over it.
AUDIT_RETENTION_DAYS: Final = 400


@dataclass(frozen=True)
class Topic:
    """One topic.

    Attributes:
        name: Full name, prefix included.
        record: Name of its record type.
        key: What the key holds.
        partitions: How many.
        config: Kafka topic configuration.
    """

    name: str
    record: str
    key: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def _config(retention_days: float | None, max_mib: int = 1, **extra: str) -> dict[str, str]:
    keep = -1 if retention_days is None else int(retention_days * _DAY_MS)
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(keep),
        "max.message.bytes": str(max_mib * _MIB),
        "message.timestamp.type": "LogAppendTime",
    } | {name.replace("_", "."): value for name, value in extra.items()}


def _compacted() -> dict[str, str]:
    return _config(None, cleanup_policy="compact", segment_ms=str(_DAY_MS))


class Topics:
    """The names of all topics under one prefix."""

    def __init__(self, prefix: str = "ttv.") -> None:
        self.prefix = prefix
        self.events = f"{prefix}jobs.events"
        self.completed = f"{prefix}jobs.completed"
        self.progress = f"{prefix}jobs.progress"
        self.control = f"{prefix}jobs.control"
        self.dlq = f"{prefix}jobs.dlq"
        self.tenants = f"{prefix}tenants"
        self.audit = f"{prefix}audit"

    def requested(self, priority: str) -> str:
        """Requests of one priority: high, normal or low."""
        return f"{self.prefix}jobs.requested.{priority}"

    def inbox(self, pool: str) -> str:
        """The facts that a pool's scheduler folds."""
        return f"{self.prefix}pool.{pool}.inbox"

    def state(self, pool: str) -> str:
        """A scheduler's state, compacted."""
        return f"{self.prefix}pool.{pool}.state"

    def assignments(self, pool: str) -> str:
        """Orders to slots: a partition is a slot."""
        return f"{self.prefix}pool.{pool}.assignments"

    def outlook(self, pool: str) -> str:
        """What finish times are computed from, compacted."""
        return f"{self.prefix}pool.{pool}.outlook"

    def group(self, name: str) -> str:
        """A consumer group of this service."""
        return f"{self.prefix}{name}"

    def records_of_scheduler(self, pool: str) -> dict[str, str]:
        """The topics that a pool's scheduler writes or reads, each with the name of its record."""
        return {
            self.inbox(pool): "PoolFact",
            self.state(pool): "PoolState",
            self.assignments(pool): "Assignment",
            self.outlook(pool): "PoolOutlook",
            self.events: "JobEvent",
            self.completed: "JobEvent",
            self.dlq: "DeadLetter",
        }

    def records_of_slot(self, pool: str) -> dict[str, str]:
        """The topics that a slot writes or reads, each with the name of its record."""
        return {
            self.inbox(pool): "PoolFact",
            self.assignments(pool): "Assignment",
            self.events: "JobEvent",
            self.completed: "JobEvent",
            self.progress: "JobProgress",
        }

    def declared(self, pools: tuple[str, ...], slots: int) -> Iterator[Topic]:
        """Every topic, with what it is created with.

        Args:
            pools: Names of the pools.
            slots: Partitions of each pool's assignments.
        """
        for priority in PRIORITIES:
            config = _config(REQUEST_RETENTION_DAYS, max_mib=2)
            yield Topic(self.requested(priority), "JobRequested", "tenant_id", 6, config)
        yield Topic(self.control, "CancelRequested", "job_id", 3, _config(REQUEST_RETENTION_DAYS))
        yield Topic(self.events, "JobEvent", "job_id", 12, _config(30))
        yield Topic(self.completed, "JobEvent", "job_id", 6, _config(30))
        yield Topic(self.progress, "JobProgress", "job_id", 6, _config(1 / 24))
        yield Topic(self.dlq, "DeadLetter", "key of the original", 3, _config(30, max_mib=3))
        yield Topic(self.tenants, "Tenant", "tenant_id", 1, _compacted())
        audited = _config(AUDIT_RETENTION_DAYS)
        yield Topic(self.audit, "AuditEvent", "tenant_id; none: of the deployment", 3, audited)
        for pool in pools:
            yield Topic(self.inbox(pool), "PoolFact", "none: one partition", 1, _config(None))
            yield Topic(self.state(pool), "PoolState", "kind:id", 1, _compacted())
            yield Topic(
                self.assignments(pool), "Assignment", "none: slot number", slots, _config(None)
            )
            yield Topic(self.outlook(pool), "PoolOutlook", "pool", 1, _compacted())
