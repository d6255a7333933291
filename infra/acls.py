"""The grants of schemas/access.py as Kafka's ACLs."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # exported without __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from infra.kafka import common
from infra.settings import Settings
from infra.telemetry import log
from schemas.access import Grant

_DEADLINE = 30.0


def binding(grant: Grant) -> AclBinding:
    """One grant as Kafka has it."""
    return AclBinding(
        ResourceType[grant.resource],
        grant.name,
        ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
        f"User:{grant.principal}",
        "*",
        AclOperation[grant.operation],
        AclPermissionType.ALLOW,
    )


def allow(config: Settings, grants: Iterable[Grant]) -> None:
    """Make Kafka grant these; what is granted already stays. Grants of before are not taken away.

    Raises:
        KafkaException: Kafka refuses, or does not answer.
    """
    admin = AdminClient(common(config))
    asked = [binding(grant) for grant in grants]
    for future in admin.create_acls(asked, request_timeout=_DEADLINE).values():
        try:
            future.result(_DEADLINE)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.SECURITY_DISABLED:
                raise
            log().warning("acls.no_authorizer")
            return
    log().info("acls.granted", count=len(asked))
