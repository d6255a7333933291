"""What a stack keeps over restarts: its ports, its secrets and Kafka's cluster id."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.stack.atomic import write_private

HOST = "127.0.0.1"

# Below the ports that Linux hands out for outgoing connections (32768 and up), so that none of
# those can sit on a stack's port while the stack is down.
_FIRST_PORT, _LAST_PORT = 20000, 32000


@dataclass(frozen=True)
class Identity:
    """Ports by name, and the secrets of one stack."""

    ports: dict[str, int]
    cluster_id: str
    api_key: str
    s3_access_key: str
    s3_secret_key: str
    postgres_password: str
    webhook_secret: str
    valkey_password: str
    kafka_passwords: dict[str, str] = field(default_factory=dict)

    def port(self, name: str) -> int:
        """The port of ``name``.

        Raises:
            KeyError: if no such port was chosen.
        """
        return self.ports[name]


def load_or_create(path: Path, names: Iterable[str], principals: Iterable[str] = ()) -> Identity:
    """The identity in ``path``, made if absent; ports in use by others are chosen anew.

    ``names`` are of ports, ``principals`` of those who log in to Kafka.

    Must be called with the stack stopped: its own processes would count as others.
    """
    kept = json.loads(path.read_text()) if path.exists() else {}
    ports = {str(name): int(port) for name, port in kept.get("ports", {}).items()}
    for name in names:
        if name not in ports or not is_free(ports[name]):
            ports[name] = free_port(set(ports.values()))
    passwords = dict(kept.get("kafka_passwords", {}))
    for name in principals:
        passwords.setdefault(name, secrets.token_urlsafe(24))
    identity = Identity(
        ports=ports,
        cluster_id=kept.get("cluster_id") or _cluster_id(),
        api_key=kept.get("api_key") or f"ttv_{secrets.token_urlsafe(32)}",
        s3_access_key=kept.get("s3_access_key") or "ttv",
        s3_secret_key=kept.get("s3_secret_key") or secrets.token_urlsafe(30),
        postgres_password=kept.get("postgres_password") or secrets.token_urlsafe(24),
        webhook_secret=kept.get("webhook_secret")
        or "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
        valkey_password=kept.get("valkey_password") or secrets.token_urlsafe(24),
        kafka_passwords=passwords,
    )
    write_private(path, json.dumps(asdict(identity), indent=2) + "\n")
    return identity


def is_free(port: int) -> bool:
    """Whether a server can listen on loopback's ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def free_port(taken: set[int]) -> int:
    """A random free port that is not in ``taken``.

    Raises:
        OSError: if none was found in 1,000 tries.
    """
    for _ in range(1000):
        port = _FIRST_PORT + secrets.randbelow(_LAST_PORT - _FIRST_PORT)
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {_FIRST_PORT} and {_LAST_PORT}")


def _cluster_id() -> str:
    # Kafka's own format: a UUID in URL-safe base64 without padding, not starting with '-'.
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
