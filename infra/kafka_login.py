"""How clients prove to Kafka who they are: one declaration for both client libraries."""

from __future__ import annotations

import ssl
from typing import Any

from infra.settings import Settings


def librdkafka_login(settings: Settings) -> dict[str, Any]:
    """What confluent-kafka's clients are told; nothing for a Kafka that asks for nothing."""
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return {}
    login: dict[str, Any] = {"security.protocol": protocol}
    if settings.kafka_ssl_ca is not None:
        login["ssl.ca.location"] = str(settings.kafka_ssl_ca)
    if protocol.startswith("SASL"):
        login |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": _password(settings),
        }
    return login


def aiokafka_login(settings: Settings) -> dict[str, Any]:
    """The same as keyword arguments of aiokafka's clients, Faust's among them.

    Raises:
        OSError: the CA's certificate cannot be read.
    """
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return {}
    login: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        login["ssl_context"] = ssl.create_default_context(cafile=settings.kafka_ssl_ca)
    if protocol.startswith("SASL"):
        login |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": _password(settings),
        }
    return login


def _password(settings: Settings) -> str:
    given = settings.kafka_sasl_password
    return "" if given is None else given.get_secret_value()
