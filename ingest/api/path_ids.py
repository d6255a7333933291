"""Ids in paths. What is none is nobody's: not found, and no error of its own."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Path

from schemas.job import TENANT


def _uuid(what: str) -> Any:
    return Path(description=f"{what}'s id.", json_schema_extra={"format": "uuid"})


JobId = Annotated[str, _uuid("The job")]
VideoId = Annotated[str, _uuid("The video")]
KeyId = Annotated[str, _uuid("The key")]
EndpointId = Annotated[str, _uuid("The endpoint")]
LetterId = Annotated[str, _uuid("The dead letter")]
#: What a ``webhook-id`` looks like.
DELIVERY: Final = "^msg_[0-9a-f]{32}$"
DeliveryId = Annotated[
    str,
    Path(description="The delivery's id: its webhook-id.", json_schema_extra={"pattern": DELIVERY}),
]
TenantId = Annotated[
    str, Path(description="The tenant's id.", json_schema_extra={"pattern": TENANT})
]
