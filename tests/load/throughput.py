"""How many jobs a second go through the whole stack, when a render is milliseconds.

    python -m tests.load.throughput [--jobs N] [--gpus N] [--steps N] [--keep DIR]

It starts a stack of its own with the stand-in renderer, submits half of the jobs over HTTP and half
over Kafka, and waits until every one has ended. Printed as JSON: jobs a second from the first
submission to the last end, what each process took of the cores, and the size of a job: so what is
slow can be seen. Exit status 1 if a job has not ended exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx2
from confluent_kafka import Producer, TopicPartition

from infra.kafka import committed_consumer
from infra.settings import STAND_IN
from infra.stack import Stack
from schemas.codec import codec, single_object
from schemas.records import JobEvent, JobRequested
from schemas.topics import Topics
from tests.support.feeds import settings_of

_HTTP_CLIENTS: Final = 4
#: Jobs under way at most: a queue, and below what the API takes before it answers 503.
_AHEAD: Final = 800
#: Seconds without an end after which the rest is given up.
_PATIENCE: Final = 120.0


class Ends:
    """Follows the completion feed and counts ends by job."""

    def __init__(self, stack: Stack) -> None:
        settings = settings_of(stack.info)
        self.times: list[float] = []
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self._decode = codec(settings.registry).decode
        self._consumer = committed_consumer(settings, "tests.throughput")
        topic = Topics().completed
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        self._stopping = False
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        while not self._stopping:
            for message in self._consumer.consume(500, 0.2):
                if message.error() is None:
                    event = self._decode(JobEvent, bytes(message.value() or b""))
                    self.times.append(time.monotonic())
                    self.counts[event.job_id] += 1
                    self.kinds[event.kind] += 1

    def wait_for(self, jobs: int) -> None:
        """Until ``jobs`` have ended, or none ends any more."""
        since = time.monotonic()
        while len(self.counts) < jobs:
            last = max([since, *self.times[-1:]])
            if time.monotonic() - last > _PATIENCE:
                return
            time.sleep(0.02)

    def close(self) -> None:
        self._stopping = True
        self._thread.join()
        self._consumer.close()


def submit(stack: Stack, ids: list[str], spec: dict[str, Any], ends: Ends) -> None:
    """Half over HTTP, half over Kafka, never more than the service takes."""
    tenant = stack.info.tenant
    producer = Producer({"bootstrap.servers": stack.info.kafka, "partitioner": "murmur2_random"})
    local = threading.local()
    headers = {"authorization": f"Bearer {stack.info.api_key}"}

    def over_http(job_id: str) -> None:
        if not hasattr(local, "client"):
            local.client = httpx2.Client(base_url=stack.info.http, headers=headers, timeout=30)
        while True:
            answer = local.client.post("/v1/jobs", json={"prompt": "x", "job_id": job_id, **spec})
            if answer.status_code in {200, 202}:
                return
            time.sleep(0.1)

    with ThreadPoolExecutor(_HTTP_CLIENTS) as pool:
        for number, job_id in enumerate(ids):
            while number - len(ends.counts) > _AHEAD:
                time.sleep(0.01)
            if number % 2:
                pool.submit(over_http, job_id)
            else:
                request = JobRequested(job_id=job_id, tenant_id=tenant, prompt="x", **spec)
                topic = Topics().requested("normal")
                producer.produce(topic, single_object(request), tenant.encode())
                producer.poll(0)
        producer.flush(30)


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """CPU seconds so far by process of the stack, its children included."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / tick
    names = {each.pid: each.name for each in stack.info.processes}
    found: defaultdict[str, float] = defaultdict(float)
    for pid, seconds in used.items():
        at: int = pid
        while at > 1 and at not in names:
            at = parents.get(at, 0)
        if at in names:
            found[names[at] + ("" if at == pid else "/child")] += seconds
    return dict(found)


def measure(jobs: int, gpus: int, spec: dict[str, Any], data: Path) -> dict[str, Any]:
    """Run the load on a stack of its own."""
    env = {
        "TTV_MODEL": STAND_IN,
        "TTV_TENANT_RATE": "10000",
        "TTV_TENANT_BURST": "100000",
        "TTV_LIMIT_KEY": "",
        "TTV_LIMIT_TENANT": "",
    }
    with Stack.start(data, gpus=gpus, env=env) as stack:
        ids = [str(uuid.uuid4()) for _ in range(jobs)]
        ends = Ends(stack)
        try:
            before, since = cpu_seconds(stack), time.monotonic()
            submit(stack, ids, spec, ends)
            submitted = time.monotonic() - since
            ends.wait_for(jobs)
            took = ends.times[-1] - since if ends.times else 0.0
            after = cpu_seconds(stack)
        finally:
            ends.close()
        cpu = {name: round(after[name] - before.get(name, 0.0), 1) for name in sorted(after)}
        once = sum(ends.counts[job_id] == 1 for job_id in ids)
        return {
            "jobs": jobs,
            "gpus": gpus,
            "ended_once": once,
            "kinds": dict(ends.kinds),
            "submitted_s": round(submitted, 1),
            "took_s": round(took, 1),
            "jobs_per_s": round(once / took, 2) if took else 0.0,
            "cores": os.cpu_count(),
            "cpu_s": {name: seconds for name, seconds in cpu.items() if seconds >= 0.1},
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--gpus", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--keep", type=Path, help="folder for the stack's data, kept")
    args = parser.parse_args()
    spec = {"width": 32, "height": 32, "num_frames": 7, "num_inference_steps": args.steps}
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(args.jobs, args.gpus, spec, args.keep or Path(scratch, "data"))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0 if found["ended_once"] == args.jobs else 1


if __name__ == "__main__":
    sys.exit(main())
