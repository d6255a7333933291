"""Which tenant a record on Kafka belongs to: what the settings say, and how this service signs.

``python -m infra.producers TENANT`` prints the key that a tenant's producers sign with.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from infra.settings import Settings, settings
from infra.telemetry import Headers
from schemas.job import valid_tenant
from schemas.producers import HEADER, OWN_LIFE, key_of, token

_SHORTEST: Final = 32


class ProducerSettingsError(Exception):
    """The settings do not say whom to believe; the message says what to set."""


def secrets_of(config: Settings) -> tuple[bytes, ...]:
    """The secrets that producers' keys are made from; the first one signs.

    Raises:
        ProducerSettingsError: there is none, or one that could be guessed.
    """
    given = config.producer_secret.get_secret_value() if config.producer_secret else ""
    secrets = tuple(part.strip().encode() for part in given.split(",") if part.strip())
    if not secrets or min(map(len, secrets)) < _SHORTEST:
        raise ProducerSettingsError(
            f"TTV_KAFKA_TENANT is 'header', so TTV_PRODUCER_SECRET must hold {_SHORTEST} characters"
            " or more, the same for ingest, admission and operators; or set TTV_KAFKA_TENANT to"
            " 'topic' (ACLs guard the topics) or 'field' (all who may produce are trusted)"
        )
    return secrets


def tenants_of(config: Settings) -> tuple[str, ...]:
    """The tenants with topics of their own.

    Raises:
        ProducerSettingsError: one of them cannot be a tenant's name.
    """
    names = tuple(part.strip() for part in config.producer_tenants.split(",") if part.strip())
    for name in names:
        if not valid_tenant(name):
            raise ProducerSettingsError(f"TTV_PRODUCER_TENANTS: {name!r} is no tenant's name")
    return names if config.kafka_tenant == "topic" else ()


class Signer:
    """Signs what this service produces on behalf of a tenant; signs nothing where none is asked.

    Raises:
        ProducerSettingsError: at construction.
    """

    def __init__(
        self, config: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._secret = secrets_of(config)[0] if config.kafka_tenant == "header" else None
        self._clock = clock

    def headers(self, tenant_id: str, topic: str, value: bytes | None) -> Headers:
        """What proves that ``value``, sent to ``topic``, is the tenant's."""
        if self._secret is None:
            return []
        key = key_of(self._secret, tenant_id)
        return [(HEADER, token(key, tenant_id, topic, value, self._clock() + OWN_LIFE))]


if __name__ == "__main__":
    if len(sys.argv) != 2 or not valid_tenant(sys.argv[1]):
        sys.exit("usage: python -m infra.producers TENANT")
    try:
        sys.stdout.write(key_of(secrets_of(settings())[0], sys.argv[1]).hex() + "\n")
    except ProducerSettingsError as problem:
        sys.exit(str(problem))
