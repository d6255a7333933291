"""What the routes under ``/v1/webhooks`` take and give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from ingest.api.path_ids import DELIVERY
from ingest.models import Body, Id, Moment, StrictBody, Time
from ingest.shapes import WebUrl
from ingest.store.deliveries import DISABLED
from ingest.store.delivery_log import Status
from ingest.webhooks.payload import Format

Kind = Literal["Completed", "Failed", "Cancelled", "Refused", "Expired"]

_URL: Final = "http or https, without a password."
_EVENTS: Final = "Which ends to tell of; all when left out or null."
_FORMAT: Final = (
    "`native`: the whole job. `openai`: OpenAI's `video.completed` and `video.failed`, which name "
    "the job alone; a cancelled job has none."
)


class EndpointBody(StrictBody):
    """An endpoint to be told."""

    url: WebUrl = Field(description=_URL)
    events: list[Kind] | None = Field(None, min_length=1, max_length=5, description=_EVENTS)
    format: Format = Field("native", description=_FORMAT)


class EndpointChange(StrictBody):
    """What is to change; what is left out stays."""

    url: WebUrl = Field(default_factory=str, description=f"{_URL} What is due goes there too.")
    events: list[Kind] | None = Field(None, min_length=1, max_length=5, description=_EVENTS)
    format: Format = Field(
        default_factory=lambda: "native", description=f"{_FORMAT} Of events to come."
    )
    enabled: bool = Field(
        default_factory=bool,
        description="True: send again, and count failures anew; false: end what is due, too.",
    )


class ReplayBody(StrictBody):
    """Which deliveries to send again."""

    since: Time = Field(description="Those made at this time or later.")
    until: Time | None = Field(None, description="And before this time; default: now.")
    only_failed: bool = Field(False, description="Not those that were delivered.")


class EndpointView(Body):
    """An endpoint."""

    id: Id = Field(description="The endpoint's id.")
    url: str = Field(description="Where deliveries go.")
    events: list[Kind] | None = Field(description="Which ends it hears of; null: all.")
    format: Format = Field(description="The shape of what it is sent.")
    enabled: bool = Field(description="Whether it is sent anything but tests.")
    created_at: Moment = Field(description="When it was registered.")
    disabled_at: Moment | None = Field(description="Since when it is not.")
    disabled_reason: str | None = Field(description="Why.")
    failing_since: Moment | None = Field(
        description="Of the deliveries since the last that succeeded: when the first one failed."
    )
    failures: int = Field(description="How many deliveries have failed since then.")
    previous_secret_until: Moment | None = Field(
        description="Until when the rotated secret signs beside the new one."
    )


class NewSecretView(EndpointView):
    """An endpoint and its new secret, which is shown this once."""

    secret: str = Field(description="whsec_ and base64, as Standard Webhooks has it. Keep it.")


class EndpointList(Body):
    """The tenant's endpoints, oldest first."""

    data: list[EndpointView] = Field(description="All of them.")


class TryView(Body):
    """One attempt. What the receiver answered beyond its status is not kept."""

    at: Moment = Field(description="When it began.")
    status: int | None = Field(description="What the receiver answered, if it did.")
    ms: int = Field(description="How long it took, in milliseconds.")
    error: str | None = Field(
        description="timeout, forbidden_address, forbidden_port, name_not_found, connect_failed, "
        "tls_failed, disconnected, malformed_answer, redirect, status, invalid_url or "
        "secret_unreadable; null: delivered."
    )


class DeliveryView(Body):
    """One event on its way to an endpoint."""

    id: str = Field(
        pattern=DELIVERY, description="The webhook-id, the same on every attempt and replay."
    )
    job_id: Id | None = Field(description="Whose end it tells of; null: a test or a notice.")
    event: str = Field(
        description="The kind of end; webhook.test; webhook.disabled: a notice, sent to nobody."
    )
    status: Status = Field(description="pending, delivered, failed or notice.")
    attempts: int = Field(description="Attempts since it was made or replayed.")
    last_status: int | None = Field(description="What the receiver answered last.")
    last_error: str | None = Field(description="What went wrong last, or why it was not sent.")
    next_at: Moment | None = Field(description="When a pending one is tried next.")
    created_at: Moment = Field(description="When it was made.")
    ended_at: Moment | None = Field(description="When it was delivered or given up.")
    tries: list[TryView] = Field(description="The newest attempts, 20 at most, oldest first.")


class DeliveryList(Body):
    """A page of an endpoint's deliveries, newest first."""

    data: list[DeliveryView] = Field(description="The page.")
    next_cursor: str | None = Field(
        description="Goes on where the page ends; null: it is the last."
    )


class ReplayView(Body):
    """What a replay came to."""

    replayed: int = Field(description="Deliveries that are due again.")
    #: To the microsecond: what lies before it has been replayed.
    next_since: datetime | None = Field(
        description="One call's share was full: replay again since this time; null: that was all."
    )


def endpoint_view(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The fields of ``EndpointView``."""
    return {
        "id": str(row["endpoint_id"]),
        "enabled": row["disabled_at"] is None,
        "previous_secret_until": row["previous_until"],
        **{name: row[name] for name in _same(EndpointView, row)},
    }


def delivery_view(row: Mapping[Any, Any]) -> DeliveryView:
    """A delivery: how far it is and what the receiver said."""
    status: Status = "delivered" if row["delivered"] else "failed"
    if row["kind"] == DISABLED:
        status = "notice"
    elif row["pending"]:
        status = "pending"
    return DeliveryView(
        id=row["delivery_id"],
        job_id=row["job_id"] and str(row["job_id"]),
        event=row["kind"],
        status=status,
        attempts=row["attempts"],
        last_status=row["last_status"],
        last_error=row["last_error"],
        next_at=row["next_at"] if row["pending"] else None,
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        tries=[TryView.model_validate(line) for line in row["tries"]],
    )


def _same(model: type[Body], row: Mapping[Any, Any]) -> Sequence[str]:
    return [name for name in model.model_fields if name in row]
