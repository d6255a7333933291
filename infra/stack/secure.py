"""A local Kafka that lets in whom it knows: TLS, a password for each principal, and ACLs.

For ``ttv up --secure``. The certificates are made once, by an authority whose key is thrown away.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.stack.atomic import write_private
from infra.stack.identity import HOST, Identity
from schemas.access import PARTS, producer

#: Tenants whose producers may write to topics of their own; the first is the stack's own tenant.
TENANTS: Final = ("default", "acme")
#: Who may do everything: the broker itself, and who makes topics and grants.
BROKER: Final = "broker"
ADMIN: Final = "admin"
PRINCIPALS: Final = (BROKER, ADMIN, *PARTS, *map(producer, TENANTS))
PROTOCOL: Final = "SASL_SSL"
MECHANISM: Final = "PLAIN"
_LIFE: Final = timedelta(days=3650)


def authority(folder: Path) -> Path:
    """The certificate that clients trust."""
    return folder / "ca.pem"


def certificates(folder: Path) -> None:
    """Make the server's key and certificate, and the authority's certificate, if there are none."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if authority(folder).exists():
        return
    own, ca = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ttv local authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ttv local Kafka")])
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost")]
    )
    root = (
        _certificate(issuer, issuer, ca)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_may_sign(), critical=True)
        .sign(ca, hashes.SHA256())
    )
    server = (
        _certificate(subject, issuer, own)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False
        )
        .sign(ca, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(folder / "server.pem", (key + server.public_bytes(pem)).decode())
    write_private(authority(folder), root.public_bytes(pem).decode())


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _may_sign() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def broker_properties(folder: Path, identity: Identity) -> dict[str, str]:
    """What Kafka's configuration says of who may come in and do what, on both of its ports."""
    broker, controller = identity.port("kafka"), identity.port("kafka-controller")
    passwords = identity.kafka_passwords
    users = " ".join(f'user_{name}="{passwords[name]}"' for name in PRINCIPALS)
    module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    login = f'{module} username="{BROKER}" password="{passwords[BROKER]}"'
    own = f'user_{BROKER}="{passwords[BROKER]}"'
    return {
        "listeners": f"CLIENTS://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"CLIENTS://{HOST}:{broker}",
        "listener.security.protocol.map": f"CLIENTS:{PROTOCOL},CONTROLLER:{PROTOCOL}",
        "inter.broker.listener.name": "CLIENTS",
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        "sasl.mechanism.controller.protocol": MECHANISM,
        "listener.name.clients.plain.sasl.jaas.config": f"{login} {users};",
        # Nobody but the broker has business with the controller.
        "listener.name.controller.plain.sasl.jaas.config": f"{login} {own};",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority(folder)),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{BROKER};User:{ADMIN}",
        "allow.everyone.if.no.acl.found": "false",
    }
