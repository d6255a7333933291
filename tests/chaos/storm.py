"""A seeded storm: jobs flow in over HTTP and Kafka while parts are killed and frozen.

    python -m tests.chaos.storm [--seed N] [--jobs N] [--faults N] [--gpus N]

It starts a stack of its own, keeps its own journal of what was accepted, and ends with the
checker's verdict; exit status 1 unless nothing was lost, repeated or torn. The seed repeats the
schedule of faults; the machine decides what each one hits.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from confluent_kafka import KafkaException, Producer
from minio import Minio
from minio.error import S3Error

from infra.stack import Stack
from schemas.codec import single_object
from schemas.records import Artifact, JobEvent, JobRequested
from schemas.topics import Topics
from tests.chaos.checker import Verdict, judge
from tests.support.feeds import read_all

SPEC: dict[str, Any] = {"width": 96, "height": 64, "num_frames": 13, "num_inference_steps": 40}
#: Beats are expected within this; a shorter freeze must change nothing, a longer one is fenced.
BEAT_TIMEOUT = 6.0
SETTLE = 240.0


@dataclass
class Journal:
    """What producers were told was accepted: outside the stack, appended before anything else."""

    path: Path
    accepted: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, job_id: str) -> None:
        with self.lock, self.path.open("a") as file:
            self.accepted.append(job_id)
            file.write(job_id + "\n")


def load(stack: Stack, jobs: int, seed: int, journal: Journal) -> None:
    """Half over HTTP, half over Kafka; what is not answered is sent again, as a client does."""
    chance = random.Random(seed)
    producer = Producer(
        {"bootstrap.servers": stack.info.kafka, "partitioner": "murmur2_random", "acks": "all"}
    )
    headers = {"authorization": f"Bearer {stack.info.api_key}"}
    with httpx2.Client(base_url=stack.info.http, headers=headers, timeout=10) as client:
        for number in range(jobs):
            job_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            if number % 2:
                submit(client, job_id)
            else:
                request = JobRequested(
                    job_id=job_id, tenant_id=stack.info.tenant, prompt="storm", **SPEC
                )
                topic = Topics().requested(chance.choice(["high", "normal", "low"]))
                producer.produce(topic, single_object(request), stack.info.tenant.encode())
                while producer.flush(5):
                    pass
            journal.note(job_id)
            time.sleep(chance.uniform(0.1, 0.6))


def submit(client: httpx2.Client, job_id: str) -> None:
    """Until it is answered 202; the job id makes the repeats harmless."""
    while True:
        with contextlib.suppress(httpx2.TransportError):
            answer = client.post("/v1/jobs", json={"prompt": "storm", "job_id": job_id, **SPEC})
            if answer.status_code in {200, 202}:
                return
        time.sleep(0.3)


def strike(stack: Stack, chance: random.Random, gpus: int) -> str:
    """One fault on one part; returns what it was."""
    parts = [f"gpu-{n}" for n in range(gpus)] * 2
    parts += ["scheduler", "admission", "worker", "api", "dead-letters", "kafka"]
    part = chance.choice(parts)
    frozen = part != "kafka" and chance.random() < 0.35
    with contextlib.suppress(ProcessLookupError, KeyError):
        pid = stack.process(part).pid
        if not pid:
            return f"{part} was down already"
        if frozen:
            seconds = chance.choice([1.0, BEAT_TIMEOUT + 4])
            stack.signal(part, signal.SIGSTOP)
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):
                stack.signal(part, signal.SIGCONT)
            return f"{part} frozen {seconds:.0f} s"
        stack.signal(part, signal.SIGKILL)
        return f"{part} killed"
    return f"{part} was down already"


def fetcher(stack: Stack) -> Any:
    s3 = stack.info.s3
    endpoint = s3.endpoint.removeprefix("http://")
    client = Minio(endpoint, s3.access_key, s3.secret_key, secure=False)

    def fetch(artifact: Artifact) -> bytes | None:
        try:
            with client.get_object(artifact.bucket, artifact.key) as answer:
                content: bytes = answer.read()
                return content
        except S3Error:
            return None

    return fetch


def settled(stack: Stack, journal: Journal) -> list[JobEvent]:
    """The completion feed once every accepted job is in it, or as it is after the deadline."""
    deadline = time.monotonic() + SETTLE
    feed: list[JobEvent] = []
    while True:
        with contextlib.suppress(KafkaException):  # the broker may be the last that was killed
            feed = read_all(stack.info, Topics().completed, JobEvent)
        if set(journal.accepted) <= {event.job_id for event in feed}:
            time.sleep(2)  # time for a second end, if there were one
            return read_all(stack.info, Topics().completed, JobEvent)
        if time.monotonic() > deadline:
            return feed
        time.sleep(2)


def storm(seed: int, jobs: int, faults: int, gpus: int) -> Verdict:
    """Run one storm and judge it."""
    chance = random.Random(seed)
    settings = {"TTV_BEAT_TIMEOUT": str(BEAT_TIMEOUT), "TTV_CHECKPOINT_EVERY_STEPS": "5"}
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack.start(Path(folder, "data"), gpus=gpus, env=settings) as stack,
    ):
        journal = Journal(Path(folder, "journal"))
        loader = threading.Thread(target=load, args=(stack, jobs, seed, journal))
        loader.start()
        hits = 0
        for _ in range(faults):
            time.sleep(chance.uniform(1.0, 5.0))
            under_way = len(journal.accepted) > 0
            what = strike(stack, chance, gpus)
            hits += under_way and "down already" not in what
            sys.stderr.write(f"seed {seed}: {what}\n")
        loader.join()
        verdict = judge(journal.accepted, settled(stack, journal), fetcher(stack))
    sys.stderr.write(f"seed {seed}: {hits} faults hit\n")
    return verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--jobs", type=int, default=150)
    parser.add_argument("--faults", type=int, default=25)
    parser.add_argument("--gpus", type=int, default=3)
    args = parser.parse_args()
    verdict = storm(args.seed, args.jobs, args.faults, args.gpus)
    sys.stdout.write(json.dumps({"seed": args.seed, **asdict(verdict)}, indent=1) + "\n")
    return 0 if verdict.clean else 1


if __name__ == "__main__":
    sys.exit(main())
