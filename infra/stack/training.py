"""Make the Java servers start fast: run each once, and keep the classes it loaded, linked.

The Java in use comes without an archive of its own classes; with one of the server's, the registry
is up in a quarter of the time. Run by set-up: ``python -m infra.stack.training kafka|registry``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.setup import paths
from infra.stack import identity, probes, servers, services
from infra.stack.info import StackInfo
from infra.stack.layout import Layout

_READY_SECONDS = 180.0
_WRITE_SECONDS = 300.0


class TrainingError(Exception):
    """The server ended without leaving an archive; the message holds what it printed."""


def train(name: str) -> Path:
    """Run the server ``name``, use it a little, stop it; returns its archive of classes.

    Raises:
        TrainingError: if it leaves none.
        UnreachableError: if it does not come up.
    """
    make, use = _SERVERS[name]
    archive = servers.archive(name)
    archive.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=paths.CACHE, prefix="training-"))
    try:
        layout = Layout.of(scratch)
        layout.create()
        known = identity.load_or_create(layout.identity, services.port_names(0))
        archive.unlink(missing_ok=True)
        program = make(layout, known)
        fresh = scratch / "archive"
        argv = [program.argv[0], f"-XX:AOTCacheOutput={fresh}", *program.argv[1:]]
        with (scratch / "output").open("w+b") as output:
            process = subprocess.Popen(
                argv, env=dict(program.env), cwd=scratch, stdout=output, stderr=output
            )
            try:
                use(services.describe(layout, known, 0), lambda: process.poll() is None)
                process.terminate()
                process.wait(_WRITE_SECONDS)
            finally:
                process.kill()
                process.wait()
        if not fresh.exists():
            raise TrainingError((scratch / "output").read_text(errors="replace")[-4000:])
        fresh.replace(archive)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return archive


def _use_kafka(info: StackInfo, alive: Callable[[], bool]) -> None:
    probes.wait_for({"kafka": lambda: probes.kafka(info.kafka)}, _READY_SECONDS, alive)
    common: dict[str, str | int | float | bool] = {"bootstrap.servers": info.kafka}
    admin = AdminClient(common)
    for created in admin.create_topics([NewTopic("training", 1)]).values():
        created.result(60)
    producer = Producer({**common, "transactional.id": "training"})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce("training", b"value", b"key")
    producer.commit_transaction(60)
    consumer = Consumer({**common, "group.id": "training", "auto.offset.reset": "earliest"})
    consumer.subscribe(["training"])
    consumer.poll(60)
    consumer.commit()
    consumer.close()


def _use_registry(info: StackInfo, alive: Callable[[], bool]) -> None:
    probes.wait_for({"registry": lambda: probes.registry(info.registry)}, _READY_SECONDS, alive)
    schema = json.dumps({"type": "record", "name": "Training", "fields": []})
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{info.registry}/subjects/training-value/versions",
        data=json.dumps({"schema": schema}).encode(),
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    urllib.request.urlopen(request, timeout=60).close()  # noqa: S310


_SERVERS = {
    "kafka": (servers.kafka, _use_kafka),
    "registry": (servers.registry, _use_registry),
}


if __name__ == "__main__":
    train(sys.argv[1])
