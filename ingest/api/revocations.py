"""``/v1/revocations``: an end to all tokens that an issuer gave a subject."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import Field

from ingest.api.body import described, read_body
from ingest.api.edge import UsesEdge, WritesKeys
from ingest.api.problems import Problem
from ingest.models import Body, Moment, StrictBody
from ingest.shapes import PRINTABLE
from ingest.store import audit, subjects
from schemas.job import Violation

router: Final = APIRouter(prefix="/v1/revocations", tags=["keys"])


class RevocationBody(StrictBody):
    """Whose tokens are to end."""

    issuer: str = Field(description="The issuer of the tokens, as the settings name it.")
    subject: str = Field(min_length=1, max_length=255, pattern=PRINTABLE, description="Their sub.")


class RevocationShown(Body):
    """Whose tokens have ended."""

    issuer: str = Field(description="The issuer of the tokens.")
    subject: str = Field(description="Their sub.")
    revoked_at: Moment = Field(
        description="Tokens issued up to then, and as much later as clocks may differ, are refused."
    )


@router.post("", response_model=RevocationShown, openapi_extra=described(RevocationBody))
async def revoke_subject(request: Request, edge: UsesEdge, identity: WritesKeys) -> RevocationShown:
    """Refuse all tokens that the subject was given up to now, at once. Its jobs go on."""
    body = await read_body(request, RevocationBody)
    if body.issuer not in edge.settings.oidc_issuer_urls:
        wrong = Violation("issuer", "unknown", "Name an issuer that the settings trust.")
        raise Problem("invalid_request", errors=[wrong])
    async with edge.connection() as connection:
        at = await subjects.revoke(connection, body.issuer, body.subject)
        name = f"{body.issuer}#{body.subject}"
        await audit.note(connection, "subject.revoked", identity.actor, None, f"token:{name}")
    return RevocationShown(issuer=body.issuer, subject=body.subject, revoked_at=at)
