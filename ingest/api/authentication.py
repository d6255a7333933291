"""From a credential to its identity: API keys and tokens, one query to PostgreSQL for either."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import aiohttp
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.settings import Settings
from infra.telemetry import log
from ingest.api.problems import Problem
from ingest.identity.caller import Identity
from ingest.identity.issuer import IssuerAway
from ingest.identity.policy import Action
from ingest.identity.seldom import Seldom
from ingest.identity.token import Claims, ClockSkew, InvalidToken, is_token
from ingest.identity.tokens import Tokens
from ingest.metrics import CLOCK_SKEW, CREDENTIALS
from ingest.store import audit, keys, subjects

Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

_REVOKED: Final = "It was revoked: sign in again for a new one."


class Authentication:
    """Tells who asks.

    Args:
        settings: Whose tokens are trusted; none, unless they name an issuer.
        http: For the issuers' keys.
        connect: Gives a connection in a transaction; raises Problem.
        seldom: Keeps what a caller does again and again from filling the audit topic.
    """

    def __init__(
        self,
        settings: Settings,
        http: aiohttp.ClientSession,
        connect: Connect,
        seldom: Seldom,
    ) -> None:
        self._connect = connect
        self._leeway = settings.oidc_leeway
        self._tokens = Tokens(settings, http) if settings.oidc_issuer_urls else None
        self._seldom = seldom

    async def identify(self, credential: str) -> Identity:
        """Who is behind an API key or a token.

        Raises:
            Problem: unauthenticated, invalid_token or dependency_unavailable.
        """
        if not credential:
            CREDENTIALS.labels("none", "refused").inc()
            raise Problem("unauthenticated")
        if self._tokens is not None and is_token(credential):
            return await self._holder(self._tokens, credential)
        async with self._connect() as connection:
            identity = await keys.identify(connection, credential)
        CREDENTIALS.labels("key", "refused" if identity is None else "accepted").inc()
        if identity is None:
            raise Problem("unauthenticated")
        return identity

    async def _holder(self, tokens: Tokens, token: str) -> Identity:
        try:
            identity = await self._standing(await tokens.claims(token))
        except InvalidToken as error:
            CREDENTIALS.labels("token", error.why).inc()
            if isinstance(error, ClockSkew):
                await self._skewed(error)
            raise Problem("invalid_token", str(error)) from None
        except IssuerAway:
            CREDENTIALS.labels("token", "issuer_away").inc()
            detail = "The identity provider does not answer."
            raise Problem("dependency_unavailable", detail) from None
        CREDENTIALS.labels("token", "accepted").inc()
        return identity

    async def _standing(self, claims: Claims) -> Identity:
        async with self._connect() as connection:
            found = await subjects.standing(
                connection, claims.issuer, claims.subject, claims.tenant_id
            )
        # The issuer's clock may be ahead by the leeway: what it then gave before is revoked, too.
        if (
            found.revoked_at is not None
            and claims.issued_at <= found.revoked_at.timestamp() + self._leeway
        ):
            raise InvalidToken("revoked", _REVOKED)
        name = f"{claims.issuer}#{claims.subject}"
        return Identity(
            key_id=uuid.uuid5(uuid.NAMESPACE_URL, name),
            tenant_id=claims.tenant_id,
            role=claims.role,
            actor=f"token:{name}",
            suspended=found.suspended,
        )

    async def _skewed(self, error: ClockSkew) -> None:
        """A trusted issuer's clock is ahead of this one's by more than the bound: someone looks."""
        CLOCK_SKEW.inc()
        if self._seldom.due(("clock.skew", error.issuer), time.monotonic()):
            log().error("clock.skew", issuer=error.issuer, seconds=round(error.seconds))
            details = {"seconds": str(round(error.seconds)), "issuer": error.issuer}
            async with self._connect() as connection:
                await audit.note(
                    connection, "clock.skew", "api", None, outcome="refused", details=details
                )

    async def denied(self, identity: Identity, action: Action) -> None:
        """Tell the audit topic that a caller tried what it may not do."""
        if self._seldom.due((identity.actor, action), time.monotonic()):
            details = {"action": action, "role": identity.role}
            async with self._connect() as connection:
                await audit.note(
                    connection,
                    "access.denied",
                    identity.actor,
                    identity.tenant_id,
                    outcome="refused",
                    details=details,
                )

    async def close(self) -> None:
        """End what is under way."""
        if self._tokens is not None:
            await self._tokens.close()
