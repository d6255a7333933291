"""The edge alone, on a stack's servers: topics, database and processes of its own.

No admission and no scheduler listen to these topics, so a test decides what happens to a job.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx2
from confluent_kafka.admin import AdminClient

from infra.kafka import common
from infra.settings import Settings
from infra.stack.identity import free_port
from ingest.db import migrate
from schemas.topics import Topics
from tests.integration.ingest.log import Log
from tests.support.wait import until

_ROOT = Path(__file__).parents[3]


class Process:
    """One process of the edge; its output goes to a file."""

    def __init__(self, module: str, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=_ROOT,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait until it has ended."""
        if self._popen.poll() is None:
            self._popen.send_signal(number)
        return self.ended()

    def ended(self, seconds: float = 30) -> int:
        """Wait until it has ended by itself; its status."""
        try:
            return self._popen.wait(seconds)
        finally:
            self._popen.kill()
            self._popen.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None


class EdgeStack:
    """An API and a worker with a database and topics of their own."""

    def __init__(self, servers: Mapping[str, str], folder: Path) -> None:
        self.name = f"edge{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.key = "ttv_" + uuid.uuid4().hex
        self.port = free_port(set())
        self._processes: list[Process] = []
        self._clients: list[httpx2.Client] = []
        base = servers["TTV_POSTGRES"].rsplit("/", 1)[0]
        self.env = {
            **servers,
            "TTV_POSTGRES": f"{base}/{self.name}",
            "TTV_TOPIC_PREFIX": f"{self.name}.",
            "TTV_SLOTS": "1",
            "TTV_HTTP_HOST": "127.0.0.1",
            "TTV_HTTP_PORT": str(self.port),
            "TTV_BOOTSTRAP_API_KEY": self.key,
            "TTV_BOOTSTRAP_TENANT": "default",
            "TTV_WEBHOOK_ALLOW_PRIVATE": "true",
            "TTV_METRICS_PORT": "0",
            "TTV_TRACE_DIR": str(folder / "traces"),
            "TTV_RELAY_AFTER": "60",
        }
        self._admin = servers["TTV_POSTGRES"]
        self.settings = settings_of(self.env)
        self.topics = Topics(self.settings.topic_prefix)

    def provision(self) -> None:
        """Make database, tables, topics, schemas and bucket."""
        self.sql(f"CREATE DATABASE {self.name}", database=self._admin)
        migrate(self.settings)
        done = subprocess.run(
            [sys.executable, "-m", "infra.provision"],
            cwd=_ROOT,
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def api(self, env: Mapping[str, str] | None = None) -> tuple[Process, httpx2.Client]:
        """Start an API process; returns once it is ready."""
        extra = dict(env or {})
        port = extra.setdefault("TTV_HTTP_PORT", str(free_port({self.port})))
        process = self._start("ingest.api", extra)
        client = self.client(self.key, f"http://127.0.0.1:{port}")
        until(lambda: _answers(client, process), 60, process.log.read_text)
        return process, client

    def start_api_without_kafka(self) -> httpx2.Client:
        """Start an API whose Kafka does not answer; returns once it lives."""
        port = str(free_port({self.port}))
        dead = f"127.0.0.1:{free_port({self.port, int(port)})}"
        process = self._start("ingest.api", {"TTV_HTTP_PORT": port, "TTV_KAFKA": dead})
        client = self.client(self.key, f"http://127.0.0.1:{port}")
        until(lambda: _answers(client, process, "/healthz"), 60, process.log.read_text)
        return client

    def worker(self, env: Mapping[str, str] | None = None) -> Process:
        """Start a worker process; does not wait."""
        return self._start("ingest.worker", env or {})

    def client(self, key: str, url: str | None = None) -> httpx2.Client:
        """A client of the API with a key."""
        base = url or f"http://127.0.0.1:{self.port}"
        headers = {"authorization": f"Bearer {key}"}
        made = httpx2.Client(base_url=base, headers=headers, timeout=30)
        self._clients.append(made)
        return made

    def log(self) -> Log:
        """A writer of events."""
        return Log(self.settings)

    def sql(self, query: str, *args: Any, database: str | None = None) -> list[dict[str, Any]]:
        """Run one statement."""
        return asyncio.run(_sql(database or self.env["TTV_POSTGRES"], query, args))

    def close(self) -> None:
        """Stop the processes, drop the database, delete the topics."""
        for client in self._clients:
            client.close()
        for process in self._processes:
            process.stop(signal.SIGKILL)
        self.sql(f"DROP DATABASE {self.name} WITH (FORCE)", database=self._admin)
        names = [topic.name for topic in self.topics.declared((self.settings.pool,), 1)]
        admin = AdminClient(common(self.settings))  # its answers end with it
        for deleted in admin.delete_topics(names).values():
            deleted.result(30)

    def _start(self, module: str, env: Mapping[str, str]) -> Process:
        log = self.folder / f"{module}-{len(self._processes)}.log"
        process = Process(module, {**self.env, **env}, log)
        self._processes.append(process)
        return process


def settings_of(env: Mapping[str, str]) -> Settings:
    """Settings from a mapping of TTV_ variables."""
    fields = {name.removeprefix("TTV_").lower(): value for name, value in env.items()}
    return Settings.model_validate(fields)


def _answers(client: httpx2.Client, process: Process, path: str = "/readyz") -> bool:
    assert process.alive(), process.log.read_text()
    try:
        return client.get(path).status_code == 200
    except httpx2.TransportError:
        return False


async def _sql(dsn: str, query: str, args: Sequence[Any]) -> list[dict[str, Any]]:
    url = urlsplit(dsn)
    connection = await asyncpg.connect(dsn=url.geturl(), timeout=10)
    try:
        return [dict(row) for row in await connection.fetch(query, *args)]
    finally:
        await connection.close()
