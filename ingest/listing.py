"""Which jobs a list is of: its filters, as they stand in a query string. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingest.cursor import PATTERN as CURSOR
from ingest.models import Time
from schemas.job import MAX_METADATA, MAX_METADATA_BYTES, Violation, printable
from schemas.states import Status

#: What stands before a label's name in a query string.
LABEL: Final = "metadata."
Priority = Literal["high", "normal", "low"]


class ListQuery(BaseModel):
    """The declared parameters of a list; labels have names that the client chooses."""

    model_config = ConfigDict(hide_input_in_errors=True)

    status: list[Status] = Field([], max_length=5, description="Of this status; again for more.")
    priority: list[Priority] = Field(
        [], max_length=3, description="Of this priority; again for more."
    )
    created_after: Time | None = Field(None, description="Submitted then or later.")
    created_before: Time | None = Field(None, description="Submitted earlier.")
    order: Literal["desc", "asc"] = Field("desc", description="desc: newest first; asc: oldest.")
    limit: int = Field(20, ge=1, le=100, description="At most so many.")
    cursor: str | None = Field(
        None,
        pattern=CURSOR,
        description="The next_cursor of a page; the same filters must stand beside it.",
    )


class InvalidFilters(ValueError):
    """The query breaks rules; ``errors`` lists them, without the values."""

    def __init__(self, errors: list[Violation]) -> None:
        super().__init__(f"{len(errors)} rules broken")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Filters:
    """What the jobs of a list have in common, and the list's order.

    Attributes:
        statuses: One of these; empty: any.
        priorities: One of these; empty: any.
        after: Submitted then or later.
        before: Submitted earlier.
        labels: All of these, with these values.
        ascending: Oldest first, instead of newest first.
    """

    statuses: tuple[str, ...] = ()
    priorities: tuple[str, ...] = ()
    after: datetime | None = None
    before: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ascending: bool = False

    def of(self, tenant_id: str) -> str:
        """The tenant's list in one form: what a cursor is bound to."""
        parts = [
            tenant_id,
            self.statuses,
            self.priorities,
            self.after and self.after.isoformat(),
            self.before and self.before.isoformat(),
            dict(self.labels),
            self.ascending,
        ]
        return json.dumps(parts, sort_keys=True)


def filters(query: ListQuery, items: Iterable[tuple[str, str]]) -> Filters:
    """The filters in a query string.

    Args:
        query: Its declared parameters, checked.
        items: All its names and values, each as often as it occurs.

    Raises:
        InvalidFilters: with every rule that the query breaks.
    """
    found: list[Violation] = []
    labels: dict[str, str] = {}
    for name, value in items:
        if name.startswith(LABEL):
            found += _label(labels, name.removeprefix(LABEL), value)
        elif name not in ListQuery.model_fields:
            message = "No parameter of this list. Labels are filtered by metadata.NAME=VALUE."
            found.append(Violation("query", "unknown_parameter", message))
    if len(labels) > MAX_METADATA:
        found.append(Violation("metadata", "too_many", f"At most {MAX_METADATA} labels."))
    if found:
        raise InvalidFilters(found)
    return Filters(
        tuple(sorted(set(query.status))),
        tuple(sorted(set(query.priority))),
        query.created_after,
        query.created_before,
        labels,
        query.order == "asc",
    )


def _label(labels: dict[str, str], name: str, value: str) -> list[Violation]:
    if name in labels:
        return [Violation("metadata", "twice", "A label is given once: it has one value.")]
    if not all(
        printable(part) and len(part.encode()) <= MAX_METADATA_BYTES for part in (name, value)
    ):
        message = f"Use printable text of at most {MAX_METADATA_BYTES} bytes."
        return [Violation("metadata", "invalid_metadata", message)]
    labels[name] = value
    return []
