"""``stack.json``: what clients, tests and operators read to find a running stack."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.stack.atomic import write_private


@dataclass(frozen=True)
class S3:
    """The object store: URL, bucket and credentials."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class KafkaLogin:
    """How a secured Kafka is entered: the passwords are by principal."""

    protocol: str
    mechanism: str
    ca: str
    passwords: dict[str, str]


@dataclass(frozen=True)
class Process:
    """A supervised process: its name, its pid (0 when it is not running) and its log file."""

    name: str
    pid: int
    log: str
    state: str = ""


@dataclass(frozen=True)
class StackInfo:
    """The content of ``stack.json``; URLs have no trailing slash."""

    http: str
    ui: str
    kafka: str
    registry: str
    s3: S3
    postgres: str
    api_key: str
    data: str
    tenant: str
    webhook_secret: str
    valkey: str
    kafka_login: KafkaLogin | None = None
    metrics: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)

    def process(self, name: str) -> Process:
        """The process ``name``.

        Raises:
            KeyError: if the stack has no such process.
        """
        for process in self.processes:
            if process.name == name:
                return process
        raise KeyError(f"no process {name!r}; there are {[p.name for p in self.processes]}")


def read(path: Path) -> StackInfo:
    """Parse ``stack.json``.

    Raises:
        FileNotFoundError: if there is none: the stack was never started.
        ValueError: if it is not a stack.json.
    """
    raw: dict[str, Any] = json.loads(path.read_text())
    known = {item.name for item in dataclasses.fields(StackInfo)}
    try:
        values = {name: value for name, value in raw.items() if name in known}
        values["s3"] = S3(**raw["s3"])
        values["processes"] = [Process(**process) for process in raw["processes"]]
        login = raw.get("kafka_login")
        values["kafka_login"] = None if login is None else KafkaLogin(**login)
        return StackInfo(**values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a stack.json: {error}") from error


def write(path: Path, info: StackInfo) -> None:
    """Replace ``stack.json`` in one step; it holds secrets, so only its owner may read it."""
    write_private(path, json.dumps(dataclasses.asdict(info), indent=2) + "\n")


def with_processes(info: StackInfo, processes: list[Process]) -> StackInfo:
    """A copy of ``info`` with ``processes`` in place of its own."""
    return dataclasses.replace(info, processes=processes)
