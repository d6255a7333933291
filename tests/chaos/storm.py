"""One storm from its start to its report."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2
from minio import Minio
from minio.error import S3Error
from urllib3.exceptions import HTTPError

from infra.setup import paths
from infra.stack.info import StackInfo
from schemas.records import Artifact, DeadLetter, JobEvent
from schemas.topics import Topics
from tests.chaos import field as battlefield
from tests.chaos import history, replay, steps
from tests.chaos.checker import Fetch, History, judge
from tests.chaos.faults import Arena, Striker
from tests.chaos.journal import Journal
from tests.chaos.load import Load
from tests.chaos.plan import Fault, Wanted, brief, pack, plan
from tests.chaos.recovery import Recovery
from tests.chaos.report import Report, Struck
from tests.chaos.victims import Victims
from tests.chaos.watch import Watch
from tests.support.feeds import read_all

POOL: Final = "mochi-1"
#: With nothing struck any more, the jobs still open are given up after so long without an end.
_STANDSTILL: Final = 120.0
#: Where what is left of a failed storm is kept.
KEPT: Final = paths.ROOT / "var" / "storms"
_SHOWN: Final = 200
_FEED_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Size:
    """How large a storm is.

    Attributes:
        jobs: At least so many are accepted.
        faults: At least so many hit work in flight.
        gpus: GPU consumers.
        window: Jobs of the load that may be unfinished at a time.
        at_once: Faults that may last at the same time.
        pauses: Least and most seconds before a fault.
        depths: Least and most seconds that a GPU consumer works before it is struck.
        minutes: When the storm is broken off, a failure.
        spec: Of each job.
        settings: For all parts.
        short: Deal from the brief pack.
    """

    jobs: int
    faults: int
    gpus: int
    window: int
    at_once: int
    pauses: tuple[float, float]
    depths: tuple[float, float]
    minutes: float
    spec: dict[str, Any]
    settings: dict[str, str] = field(default_factory=dict)
    short: bool = False


_TINY: Final = {
    "prompt": "storm",
    "width": 96,
    "height": 64,
    "num_frames": 13,
    "num_inference_steps": 64,
}
_LEAST: Final = {
    "prompt": "storm",
    "width": 32,
    "height": 32,
    "num_frames": 7,
    "num_inference_steps": 8,
}
#: With the real Mochi-1, of small random weights.
REAL: Final = Size(500, 60, 3, 24, 1, (1.0, 4.0), (0.0, 2.0), 38, _TINY)
#: With the stand-in renderer, whose steps take a millisecond.
MANY: Final = Size(
    20_000, 300, 4, 120, 2, (0.5, 2.0), (0.0, 0.0), 58, _LEAST, {"TTV_MODEL": "stand-in"}
)
#: What ``make test`` has time for.
BRIEF: Final = replace(
    MANY, jobs=40, faults=10, gpus=2, window=12, at_once=1, pauses=(0.1, 0.6), minutes=3, short=True
)


def say(text: str) -> None:
    """Tell how it goes."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def storm(seed: int, size: Size, wanted: Wanted = Wanted()) -> Report:  # noqa: B008 - immutable
    """Run one storm and judge it.

    Args:
        seed: Decides the jobs and the schedule of faults; what each hits, the machine decides.
        size: How large.
        wanted: Which faults.
    """
    faults = [fault for fault in (brief if size.short else pack)(size.gpus) if wanted(fault)]
    slots = min(size.gpus, battlefield.PROXIED)
    schedule = plan(seed, faults, slots, size.pauses, size.depths)
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    report: Report | None = None
    try:
        with battlefield.field(folder, size.gpus, size.settings) as ground:
            report = _Storm(seed, size, ground, folder).run(schedule)
        return report
    finally:
        if report is None or not report.ok:
            say(f"seed {seed} failed; its logs are in {_keep(folder, seed, report)}")
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, seed: int, report: Report | None) -> Path:
    kept = KEPT / f"seed-{seed}-{time.strftime('%H%M%S')}"
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "data" / "logs", kept / "logs", dirs_exist_ok=True)
    for name in ("journal", "history.jsonl", "struck"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(folder / name, kept / name)
    if report is not None:
        (kept / "report.json").write_text(json.dumps(report.as_json(), indent=1))
    return kept


class _Storm:
    def __init__(self, seed: int, size: Size, ground: battlefield.Field, folder: Path) -> None:
        self._seed = seed
        self._size = size
        self._folder = folder
        self._stack = ground.stack
        self._info: StackInfo = ground.stack.info
        self._began = time.monotonic()
        self._deadline = self._began + size.minutes * 60
        self._journal = Journal(folder / "journal")
        self._watch = Watch(self._info, POOL)
        self._load = Load(
            self._info, size.spec, seed, self._journal, lambda: len(self._watch.ended), size.window
        )
        victims = Victims(
            self._stack,
            self._watch,
            lambda: self._load.unfinished,
            lambda: self._load.open_requests,
        )
        self._arena = Arena(
            stack=self._stack,
            victims=victims,
            watch=self._watch,
            recovery=Recovery(),
            links=ground.links,
            brokers=ground.brokers,
            clocks=ground.clocks,
            pool=POOL,
            burst=self._load.burst,
        )
        self._struck: list[Struck] = []
        self._problems: list[str] = []

    def run(self, schedule: Iterator[Fault]) -> Report:
        with contextlib.closing(self._journal):
            return self._run(schedule)

    def _run(self, schedule: Iterator[Fault]) -> Report:
        arena = self._arena
        self._watch.listen(arena.recovery.seen)
        self._load.listen(arena.recovery.confirmed)
        self._watch.start()
        self._load.start()
        try:
            self._rage(schedule)
            self._until(self._enough, self._deadline)
        finally:
            arena.ending.set()
            self._load.finish()
        self._settle()
        self._watch.close()
        self._judge_size()
        return self._report()

    def _rage(self, schedule: Iterator[Fault]) -> None:
        striker = Striker(self._arena)
        under_way: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(self._size.at_once) as crew:
            for fault in schedule:
                if self._hits() >= self._size.faults or not self._goes_on():
                    break
                self._arena.ending.wait(fault.pause)
                while fault.part in under_way or len(under_way) >= self._size.at_once:
                    time.sleep(0.05)
                    for part in [part for part, work in under_way.items() if work.done()]:
                        under_way.pop(part).result()
                self._arena.recovery.disturb(fault.part)
                under_way[fault.part] = crew.submit(self._strike, striker, fault)
            for work in under_way.values():
                work.result()

    def _strike(self, striker: Striker, fault: Fault) -> None:
        at = time.monotonic() - self._began
        try:
            hit = striker.strike(fault)
        except Exception as error:  # noqa: BLE001 - the storm goes on, and fails
            self._problems.append(f"{fault} could not be done: {error!r}")
            hit = False
        self._struck.append(Struck(fault, at, hit))
        done, ended = len(self._journal.accepted), len(self._watch.ended)
        told = f"{at:6.0f} s  {ended} of {done} jobs  {'hit ' if hit else 'miss'} {fault}"
        with (self._folder / "struck").open("a") as file:
            file.write(told + "\n")
        say(f"seed {self._seed}: {told}")

    def _hits(self) -> int:
        return sum(each.hit for each in self._struck)

    def _goes_on(self) -> bool:
        return time.monotonic() < self._deadline and self._load.failure is None

    def _until(self, reached: Callable[[], bool], deadline: float) -> bool:
        while not reached():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _enough(self) -> bool:
        return len(self._journal.accepted) >= self._size.jobs or self._load.failure is not None

    def _settle(self) -> None:
        """Until every accepted job has ended, or nothing has for a long time."""
        accepted = set(self._journal.accepted)
        while not accepted <= self._watch.ended:
            ended = len(self._watch.ended)
            if not self._until(partial(self._more_than, ended), time.monotonic() + _STANDSTILL):
                return
        for part in ("admission", "dead-letters", "worker"):
            self._until(partial(self._idle, part), time.monotonic() + _STANDSTILL)

    def _more_than(self, ended: int) -> bool:
        return len(self._watch.ended) > ended

    def _idle(self, part: str) -> bool:
        return not self._arena.victims.busy(part)

    def _judge_size(self) -> None:
        accepted, hits = len(self._journal.accepted), self._hits()
        if self._load.failure is not None:
            self._problems.append(f"the load broke off: {self._load.failure!r}")
        if accepted < self._size.jobs:
            self._problems.append(f"{accepted} jobs of {self._size.jobs} in the time")
        if hits < self._size.faults:
            self._problems.append(f"{hits} faults of {self._size.faults} hit in the time")

    def _report(self) -> Report:
        topics = Topics()

        def feed(topic: str) -> list[JobEvent]:
            return read_all(self._info, topic, JobEvent, _FEED_SECONDS)

        ended = History(
            accepted=list(self._journal.accepted),
            cancelling=self._journal.cancelling,
            bad={(bad.topic, bad.partition, bad.offset) for bad in self._journal.bad},
            completed=feed(topics.completed),
            events=feed(topics.events),
            letters=read_all(self._info, topics.dlq, DeadLetter, _FEED_SECONDS),
            shown=_shown(self._info, self._over_http()),
        )
        verdict = judge(ended, _fetcher(self._info))
        file = self._folder / "history.jsonl"
        facts = history.record(self._info, POOL, file)
        replayed = replay.replay(file)
        if not replayed.allowed:
            self._problems.append(f"the model does not allow this history: {replayed.told}")
        return Report(
            seed=self._seed,
            verdict=verdict,
            struck=self._struck,
            recovery=self._arena.recovery.figures(),
            steps=steps.count(self._watch.progress),
            seconds=time.monotonic() - self._began,
            problems=self._problems,
            replayed=facts if replayed.done else 0,
        )

    def _over_http(self) -> list[str]:
        accepted = self._journal.accepted.values()
        return [each.job_id for each in accepted if each.way == "http"][-_SHOWN:]


def _fetcher(info: StackInfo) -> Fetch:
    endpoint = info.s3.endpoint.removeprefix("http://")
    client = Minio(endpoint, info.s3.access_key, info.s3.secret_key, secure=False)

    def fetch(artifact: Artifact) -> bytes | None:
        try:
            with client.get_object(artifact.bucket, artifact.key) as answer:
                content: bytes = answer.read()
                return content
        except (S3Error, HTTPError):
            return None

    return fetch


def _shown(info: StackInfo, job_ids: Iterable[str]) -> dict[str, str]:
    """The jobs' status by the API, once it answers."""
    headers = {"authorization": f"Bearer {info.api_key}"}
    shown: dict[str, str] = {}
    with httpx2.Client(base_url=info.http, headers=headers, timeout=10) as client:
        for job_id in job_ids:
            deadline = time.monotonic() + 30
            while job_id not in shown and time.monotonic() < deadline:
                with contextlib.suppress(httpx2.TransportError):
                    answer = client.get(f"/v1/jobs/{job_id}")
                    if answer.status_code == 200:
                        shown[job_id] = answer.json()["status"]
                        break
                    if answer.status_code == 404:
                        shown[job_id] = "unknown"
                time.sleep(0.2)
    return shown
