"""Whole stacks of real servers: side by side, killed, started again, with their data."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import minio
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.setup import paths
from infra.stack import Stack, StackInfo, probes, starter

_TTV = str(paths.VENV / "bin" / "ttv")
_SUBJECT = "survivor-value"
_SCHEMA = {"type": "record", "name": "Survivor", "fields": [{"name": "text", "type": "string"}]}
_BUCKET = "survivors"


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of servers that runs while others come and go."""
    with Stack.start(tmp_path_factory.mktemp("neighbour") / "data", only="infra") as running:
        yield running


def write_everywhere(info: StackInfo, text: str) -> int:
    """Leave ``text`` in each server; returns the id of the schema registered."""
    admin = AdminClient({"bootstrap.servers": info.kafka})
    for created in admin.create_topics([NewTopic("survivors", 1)]).values():
        created.result(20)
    producer = Producer({"bootstrap.servers": info.kafka, "acks": "all"})
    producer.produce("survivors", text.encode())
    assert producer.flush(20) == 0
    store = client(info)
    store.make_bucket(_BUCKET)
    store.put_object(_BUCKET, "a/b", io.BytesIO(text.encode()), len(text))
    asyncio.run(execute(info.postgres, f"CREATE TABLE survivor AS SELECT '{text}'::text AS text"))
    return register(info)


def read_everywhere(info: StackInfo) -> dict[str, str]:
    """What each server still has of it."""
    group = {"group.id": str(uuid.uuid4()), "auto.offset.reset": "earliest"}
    consumer = Consumer({"bootstrap.servers": info.kafka, **group})
    consumer.subscribe(["survivors"])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    response = client(info).get_object(_BUCKET, "a/b")
    stored = response.read()
    response.close()
    response.release_conn()
    return {
        "kafka": (message.value() or b"").decode(),
        "s3": stored.decode(),
        "postgres": str(asyncio.run(execute(info.postgres, "SELECT text FROM survivor"))),
    }


def client(info: StackInfo) -> minio.Minio:
    return minio.Minio(
        info.s3.endpoint.removeprefix("http://"),
        access_key=info.s3.access_key,
        secret_key=info.s3.secret_key,
        secure=False,
    )


async def execute(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def register(info: StackInfo) -> int:
    """Register the schema as Confluent's clients do; returns its id."""
    request = urllib.request.Request(  # noqa: S310 - the stack's own URL
        f"{info.registry}/subjects/{_SUBJECT}/versions",
        data=json.dumps({"schema": json.dumps(_SCHEMA)}).encode(),
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
        return int(json.load(response)["id"])


def processes_of(stack: Stack) -> list[str]:
    """Command lines of all processes that mention the stack's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(stack.layout.data) in command:
            found.append(command)
    return found


def eventually(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def up(data: Path, log: Path) -> subprocess.Popen[bytes]:
    """``ttv up`` in the foreground, ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_TTV, "up", "--only", "infra", "--data", str(data)], stdout=output, stderr=output
        )
    deadline = time.monotonic() + 120
    while "Ctrl-C stops it" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return process


def test_a_stack_survives_kill_and_restart_beside_another(neighbour: Stack, tmp_path: Path) -> None:
    data = tmp_path / "data"
    stack = Stack(data)
    foreground = up(data, tmp_path / "up.log")
    before = stack.info
    schema = write_everywhere(before, "still here")

    # SIGKILL of the supervisor takes everything along, and nothing of the neighbour.
    unharmed = {process.pid for process in neighbour.info.processes}
    os.kill(stack.supervisor_pid, signal.SIGKILL)
    foreground.wait(30)
    eventually(lambda: processes_of(stack) == [], lambda: processes_of(stack))
    assert {process.pid for process in neighbour.info.processes} == unharmed
    assert stack.info.processes == []

    # Started again it has its data, its addresses, its secrets and the schema's id.
    foreground = up(data, tmp_path / "up.log")
    after = stack.info
    assert dataclasses.replace(after, processes=[]) == dataclasses.replace(before, processes=[])
    assert read_everywhere(after) == dict.fromkeys(("kafka", "s3", "postgres"), "still here")
    assert register(after) == schema
    ours, theirs = (json.loads(one.layout.identity.read_text()) for one in (stack, neighbour))
    assert not set(ours["ports"].values()) & set(theirs["ports"].values())

    # Ctrl-C stops it, in order, and leaves nothing.
    foreground.send_signal(signal.SIGINT)
    assert foreground.wait(60) == 0
    assert processes_of(stack) == []
    assert json.loads(stack.layout.info.read_text())["processes"] == []


def test_a_second_start_in_the_same_folder_is_refused(neighbour: Stack) -> None:
    pids = {process.pid for process in neighbour.info.processes}
    data = str(neighbour.layout.data)
    done = subprocess.run(
        [_TTV, "up", "--data", data], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 3
    assert f"already running in {data}" in done.stderr
    assert {process.pid for process in neighbour.info.processes} == pids


@pytest.mark.parametrize("name", ["postgres", "s3"])
def test_a_killed_server_is_restarted_and_stack_json_follows(neighbour: Stack, name: str) -> None:
    old = neighbour.signal(name, signal.SIGKILL)
    new = neighbour.wait_for_restart(name, old)

    def listed() -> int:
        raw = json.loads(neighbour.layout.info.read_text())
        return next(int(p["pid"]) for p in raw["processes"] if p["name"] == name)

    eventually(lambda: listed() == new, listed)
    probe = starter.server_probes(neighbour.info)[name]
    eventually(
        lambda: probes.check(name, "", probe).ok and neighbour.process(name).state == "RUNNING",
        lambda: neighbour.log_tail(name),
    )


def test_status_and_doctor_agree_that_all_is_well(neighbour: Stack) -> None:
    data = str(neighbour.layout.data)
    status = subprocess.run(
        [_TTV, "status", "--json", "--data", data], capture_output=True, check=True, timeout=60
    )
    shown = json.loads(status.stdout)
    assert {(p["name"], p["state"]) for p in shown["processes"]} == {
        *((name, "RUNNING") for name in ("kafka", "registry", "s3", "postgres", "valkey")),
    }
    assert neighbour.info.valkey not in status.stdout.decode()
    assert neighbour.info.s3.secret_key not in status.stdout.decode()
    doctor = subprocess.run(
        [_TTV, "doctor", "--json", "--data", data], capture_output=True, check=False, timeout=60
    )
    findings = {finding["name"]: finding["ok"] for finding in json.loads(doctor.stdout)}
    # Of a stack of servers alone, the API is what is not there.
    servers = ("kafka", "registry", "s3", "postgres", "valkey")
    assert findings == dict.fromkeys(servers, True) | {"api": False}


def test_everything_listens_on_loopback_alone(neighbour: Stack) -> None:
    pids = {process.pid for process in neighbour.info.processes}
    inodes = {
        link.readlink().name
        for pid in pids
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink() and str(link.readlink()).startswith("socket:")
    }
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                listening.append(fields[1].rsplit(":", 1)[0])
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert len(listening) >= 6
    assert set(listening) <= loopback
