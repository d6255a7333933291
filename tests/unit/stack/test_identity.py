"""A stack keeps its ports and secrets; two stacks never share any."""

from __future__ import annotations

import base64
import socket
from pathlib import Path

from infra.stack import identity

NAMES = ["kafka", "http"]


def test_ports_and_secrets_are_the_same_at_the_next_start(tmp_path: Path) -> None:
    first = identity.load_or_create(tmp_path / "identity.json", NAMES)
    assert identity.load_or_create(tmp_path / "identity.json", NAMES) == first


def test_two_stacks_differ_in_everything(tmp_path: Path) -> None:
    one = identity.load_or_create(tmp_path / "one.json", NAMES)
    two = identity.load_or_create(tmp_path / "two.json", NAMES)
    assert one.api_key != two.api_key
    assert one.s3_secret_key != two.s3_secret_key
    assert one.postgres_password != two.postgres_password
    assert one.webhook_secret != two.webhook_secret
    assert one.cluster_id != two.cluster_id


def test_a_port_that_someone_else_took_is_chosen_anew_and_the_rest_stays(tmp_path: Path) -> None:
    before = identity.load_or_create(tmp_path / "identity.json", NAMES)
    with socket.create_server((identity.HOST, before.port("kafka"))):
        after = identity.load_or_create(tmp_path / "identity.json", NAMES)
    assert after.port("kafka") != before.port("kafka")
    assert after.port("http") == before.port("http")
    assert after.api_key == before.api_key


def test_more_gpus_get_ports_beside_the_old_ones(tmp_path: Path) -> None:
    before = identity.load_or_create(tmp_path / "identity.json", NAMES)
    after = identity.load_or_create(tmp_path / "identity.json", [*NAMES, "metrics-gpu-0"])
    assert after.ports.items() >= before.ports.items()
    assert len(set(after.ports.values())) == 3


def test_ports_lie_below_those_of_outgoing_connections(tmp_path: Path) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = identity.load_or_create(tmp_path / "identity.json", NAMES).ports
    assert all(port < lowest for port in ports.values())


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    identity.load_or_create(tmp_path / "identity.json", NAMES)
    assert (tmp_path / "identity.json").stat().st_mode & 0o777 == 0o600


def test_the_webhook_secret_has_the_form_of_standard_webhooks(tmp_path: Path) -> None:
    secret = identity.load_or_create(tmp_path / "identity.json", NAMES).webhook_secret
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
