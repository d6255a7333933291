"""Tokens of the issuers that the settings name: from the text to what it proves."""

from __future__ import annotations

import time

import aiohttp

from infra.settings import Settings
from ingest.identity.issuer import Issuer, Keeping
from ingest.identity.token import Claims, InvalidToken, Rules, read, verify


class Tokens:
    """Checks tokens; one of an issuer that is not configured proves nothing.

    Args:
        settings: Issuers, audience, claims and bounds.
        http: For the issuers' keys.
    """

    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        keeping = Keeping(
            settings.oidc_jwks_refresh, settings.oidc_jwks_min_interval, settings.oidc_jwks_keep
        )
        self._rules = Rules(
            audience=settings.oidc_audience,
            leeway=settings.oidc_leeway,
            tenant_claim=settings.oidc_tenant_claim,
            role_claim=settings.oidc_role_claim,
        )
        self._issuers = {
            url: Issuer(url, settings.oidc_jwks_url, keeping, http)
            for url in settings.oidc_issuer_urls
        }

    async def claims(self, token: str) -> Claims:
        """What the token proves.

        Raises:
            InvalidToken: nothing.
            ClockSkew: it is good, but from the future.
            IssuerAway: that cannot be told now.
        """
        said = read(token)
        issuer = self._issuers.get(said.issuer)
        if issuer is None:
            raise InvalidToken("issuer", "Its issuer is not one that this service trusts.")
        key = await issuer.key(said.key_id)
        return verify(token, said, key, self._rules, time.time())

    async def close(self) -> None:
        """End what is under way."""
        for issuer in self._issuers.values():
            await issuer.close()
