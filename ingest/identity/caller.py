"""Who asks: what the routes know of a caller, however it proved who it is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of one request.

    Attributes:
        key_id: The API key's id; for a token an id derived from its issuer and subject, so that
            limits and logs tell callers apart in one way.
        tenant_id: Whose jobs it sees.
        role: A name of the policy table; unknown ones may do nothing.
        actor: As the audit topic names it: ``key:ID`` or ``token:ISSUER#SUBJECT``.
        scopes: The actions that the credential is limited to; None: all of its role.
        suspended: The tenant may read and end its jobs, but make none.
    """

    key_id: uuid.UUID
    tenant_id: str
    role: str
    actor: str
    scopes: frozenset[str] | None = None
    suspended: bool = False
