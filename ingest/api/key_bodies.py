"""What the routes of API keys take and give."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from ingest.identity.policy import ACTIONS, POLICY, ROLES, Action, Role
from ingest.models import Body, Id, Moment, StrictBody
from ingest.shapes import PRINTABLE, WHOLE
from schemas.job import TENANT

_DAY: Final = 86_400
_Life = Annotated[int, WHOLE, Field(ge=60, le=3650 * _DAY)]
_Scopes = Annotated[list[Action], Field(min_length=1, max_length=len(ACTIONS))]
#: No scope lies beyond the role.
_WITHIN: Final[dict[str, Any]] = {
    "allOf": [
        {
            "if": {"properties": {"role": {"const": role}}},
            "then": {
                "properties": {
                    "scopes": {
                        "type": ["array", "null"],
                        "items": {"enum": [a for a in ACTIONS if role in POLICY[a]]},
                    }
                }
            },
        }
        for role in ROLES
    ]
}


class KeyBody(StrictBody):
    """A key to be made."""

    model_config = ConfigDict(json_schema_extra=_WITHIN)

    tenant_id: str = Field(pattern=TENANT, description="Whose jobs it sees.")
    role: Role = Field(description="What it may do.")
    name: str = Field("", max_length=100, pattern=PRINTABLE, description="What you call it.")
    scopes: _Scopes | None = Field(
        None, description="Limits it to these actions of its role; all of them when left out."
    )
    expires_in_s: _Life | None = Field(
        None, description="Seconds until it expires; never when left out."
    )


class RotateBody(StrictBody):
    """How a key's secret is replaced."""

    overlap_s: Annotated[int, WHOLE] = Field(
        _DAY, ge=0, le=30 * _DAY, description="Seconds for which the old secret is valid too."
    )
    expires_in_s: _Life | None = Field(
        None,
        description="Seconds until the new secret expires; when left out, when the old one would.",
    )


class RightsBody(StrictBody):
    """What a key may do from now on."""

    model_config = ConfigDict(json_schema_extra=_WITHIN)

    role: Role = Field(description="What it may do.")
    scopes: _Scopes | None = Field(
        None, description="Limits it to these actions of its role; all of them when left out."
    )


class KeyShown(Body):
    """A key, without its secret."""

    id: Id = Field(description="The key's id.")
    prefix: str | None = Field(description="How the secret begins; null: the bootstrap key.")
    tenant_id: str = Field(description="Whose jobs it sees.")
    role: str = Field(description="What it may do.")
    name: str = Field(description="What its owner calls it.")
    scopes: list[str] | None = Field(description="Actions it is limited to; null: none.")
    created_at: Moment = Field(description="When the key was made.")
    rotated_at: Moment | None = Field(
        description="When it got its current secret, if not at first."
    )
    expires_at: Moment | None = Field(description="When its current secret ends; null: never.")
    earlier_valid_until: Moment | None = Field(
        description="Until when an earlier secret is valid too; null: none is."
    )
    revoked_at: Moment | None = Field(description="When it was revoked; null: it was not.")
    last_used_at: Moment | None = Field(description="To within five minutes; null: never.")


class KeyMade(KeyShown):
    """A key with a fresh secret."""

    key: str = Field(description="The secret. It is shown here alone: keep it.")


class KeyPage(Body):
    """Keys in the order of their ids."""

    data: list[KeyShown] = Field(description="The keys.")
    next_cursor: str | None = Field(description="Where the next page begins; null: at no more.")
