"""Brings a stack up in order: servers answer, then provisioning, then the service's processes.

Run by the supervisor: ``python -m infra.stack starter DIR [infra]``. It ends when all is started;
until then it tries again with growing pauses, and says in ``DIR/run/start.json`` how far it is.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from infra.kafka_login import librdkafka_login
from infra.stack import info, probes, services
from infra.stack.atomic import write_private
from infra.stack.layout import Layout
from infra.stack.supervision import Supervisor

_SERVERS_SECONDS = 60.0
_LONGEST_PAUSE = 30.0
# Topics, schemas and the bucket; then the tables.
_PROVISION = ("infra.provision", "ingest.db")

# supervisord's fault codes: a group that does not exist, a process that runs already.
_BAD_NAME = 10


class StartError(Exception):
    """A stage of the start failed; it is tried again."""


@dataclass(frozen=True)
class Progress:
    """How far the start is: stage (servers, provision, service, done), failures so far, and why."""

    stage: str
    failures: int = 0
    error: str = ""
    culprit: str = ""


def progress_file(layout: Layout) -> Path:
    """Where the progress is written."""
    return layout.run / "start.json"


def read_progress(layout: Layout) -> Progress:
    """How far the start is."""
    try:
        return Progress(**json.loads(progress_file(layout).read_text()))
    except FileNotFoundError:
        return Progress("servers")


def server_probes(known: info.StackInfo) -> dict[str, probes.Probe]:
    """A probe for each server, the quickest to start first."""
    login = librdkafka_login(services.settings_of(known))
    maintenance = known.postgres.rsplit("/", 1)[0] + "/postgres"
    return {
        "postgres": lambda: probes.postgres(maintenance),
        "valkey": lambda: probes.valkey(known.valkey),
        "s3": lambda: probes.s3(known.s3),
        "kafka": lambda: probes.kafka(known.kafka, login),
        "registry": lambda: probes.registry(known.registry),
    }


def _wait_for_servers(known: info.StackInfo) -> None:
    probes.wait_for(server_probes(known), _SERVERS_SECONDS)
    asyncio.run(_create_database(known.postgres))


async def _create_database(dsn: str) -> None:
    maintenance, name = dsn.rsplit("/", 1)
    connection = await asyncpg.connect(f"{maintenance}/postgres", timeout=10)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


def _provision() -> None:
    for module in _PROVISION:
        done = subprocess.run([sys.executable, "-m", module], stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise StartError(f"{module} ended with status {done.returncode}")


def _start_service(layout: Layout) -> None:
    supervisor = Supervisor(layout)
    for group in ("apps", "gpus"):
        try:
            supervisor.start_group(group)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _BAD_NAME:
                raise


def main(data: str, only: str | None = None) -> None:
    """Run the stages, each until it succeeds."""
    layout = Layout.of(data)
    known = info.read(layout.info)
    stages = {"servers": lambda: _wait_for_servers(known)}
    if only is None:
        stages |= {"provision": _provision, "service": lambda: _start_service(layout)}
    for stage, action in stages.items():
        _until_it_succeeds(layout, stage, action)
    _say(layout, Progress("done"))


def _until_it_succeeds(layout: Layout, stage: str, action: probes.Probe) -> None:
    progress = Progress(stage)
    while True:
        _say(layout, progress)
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is: said, and tried again
            culprit = error.name if isinstance(error, probes.UnreachableError) else "starter"
            failures = progress.failures + 1
            progress = dataclasses.replace(
                progress, failures=failures, error=str(error), culprit=culprit
            )
            _say(layout, progress)
            time.sleep(min(2.0**failures, _LONGEST_PAUSE))
        else:
            return


def _say(layout: Layout, progress: Progress) -> None:
    write_private(progress_file(layout), json.dumps(dataclasses.asdict(progress)))
    print(f"{progress.stage} {progress.failures} {progress.error}".rstrip(), flush=True)
