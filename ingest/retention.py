"""How long a finished video is kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self

from infra.settings import Settings


@dataclass(frozen=True, slots=True)
class Retention:
    """A deployment's defaults, in seconds; None: for ever.

    Attributes:
        everywhere: For tenants without a default of their own.
        of_tenant: Those with one.
    """

    everywhere: int | None = None
    of_tenant: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings say."""
        return cls(settings.retention, settings.tenant_retention)

    def expiry(self, row: Mapping[Any, Any]) -> datetime | None:
        """When the job's video goes: what the job asks for wins. None: never, or there is none.

        The moment is settled when the job ends; a default that changes later does not move it.

        Args:
            row: The columns of ``jobs``.
        """
        if row["artifact"] is None or row["completed_at"] is None:
            return None
        seconds = row["retention_s"]
        if seconds is None:
            seconds = self.of_tenant.get(row["tenant_id"], self.everywhere)
        if seconds is None:
            return None
        completed_at: datetime = row["completed_at"]
        return completed_at + timedelta(seconds=seconds)


#: What holds where nothing is set.
FOR_EVER: Final = Retention()
