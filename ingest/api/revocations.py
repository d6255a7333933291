"""``/v1/revocations``: an end to all tokens that an issuer gave a subject."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ingest.api.edge import UsesEdge, WritesKeys
from ingest.api.problems import Problem, documented
from ingest.api.strict_body import OF_BODY, StrictBody, described, read_body
from ingest.store import audit, subjects
from ingest.view import moment
from schemas.job import Violation

router: Final = APIRouter(prefix="/v1/revocations", tags=["keys"])


class RevocationBody(StrictBody):
    """Whose tokens are to end."""

    issuer: str = Field(description="The issuer of the tokens, as the settings name it.")
    subject: str = Field(min_length=1, max_length=255, description="Their sub.")


class RevocationShown(BaseModel):
    """Whose tokens have ended."""

    issuer: str = Field(description="The issuer of the tokens.")
    subject: str = Field(description="Their sub.")
    revoked_at: str = Field(
        description="Tokens issued up to then, and as much later as clocks may differ, are refused."
    )


@router.post("", openapi_extra=described(RevocationBody), responses=documented(*OF_BODY))
async def revoke_subject(request: Request, edge: UsesEdge, identity: WritesKeys) -> RevocationShown:
    """Refuse all tokens that the subject was given up to now, at once. Its jobs go on."""
    body = await read_body(request, RevocationBody)
    if body.issuer not in edge.settings.oidc_issuer_urls:
        wrong = Violation("issuer", "unknown", "Name an issuer that the settings trust.")
        raise Problem("invalid_request", errors=[wrong])
    if not body.subject.isprintable():
        wrong = Violation("subject", "invalid", "Leave control characters out.")
        raise Problem("invalid_request", errors=[wrong])
    async with edge.connection() as connection:
        at = await subjects.revoke(connection, body.issuer, body.subject)
        name = f"{body.issuer}#{body.subject}"
        await audit.note(connection, "subject.revoked", identity.actor, None, f"token:{name}")
    return RevocationShown(issuer=body.issuer, subject=body.subject, revoked_at=moment(at) or "")
