"""How each kind of fault is done to a running stack, and when it counts as a hit."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from infra.stack import Stack
from infra.stack.atomic import write_private
from schemas.topics import Topics
from tests.chaos.clock import WallClock
from tests.chaos.disk import no_room
from tests.chaos.plan import BEAT_TIMEOUT, FENCE_POINTS, SHORT, Fault
from tests.chaos.proxies import Links, Mode
from tests.chaos.recovery import Recovery, goes_on, written
from tests.chaos.victims import SERVERS, Victims, tree
from tests.chaos.watch import Watch
from tests.support.kafka_proxy import END_TXN, KafkaProxy

#: How long a victim is watched for work in flight before a fault is given up.
PATIENCE: Final = 12.0
_LOOK: Final = 0.15
_UP: Final = 60.0
#: A process that ended at a crash point was killed there.
_PAST: Final = {
    "kill": "killed",
    "crash": "killed",
    "zombie": "frozen",
    "restart": "restarted",
    "freeze": "frozen",
    "outage": "back",
}


@dataclass
class Arena:
    """All that a fault may touch."""

    stack: Stack
    victims: Victims
    watch: Watch
    recovery: Recovery
    links: Links
    brokers: dict[str, KafkaProxy]
    clocks: dict[str, WallClock]
    pool: str
    burst: Callable[[], None]
    ending: threading.Event = field(default_factory=threading.Event)


class Striker:
    """Does faults to the stack of one arena."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._victims = arena.victims
        self._kinds: dict[str, Callable[[Fault], bool]] = {
            "kill": self._kill,
            "restart": self._restart,
            "freeze": self._freeze,
            "child": self._child,
            "crash": self._crash,
            "zombie": self._zombie,
            "late-commit": self._late_commit,
            "slow": self._link,
            "half-open": self._link,
            "refused": self._link,
            "outage": self._outage,
            "full-disk": self._full_disk,
            "clock": self._clock,
        }

    def strike(self, fault: Fault) -> bool:
        """Do the fault, and undo what of it lasts; returns whether it hit work in flight."""
        if not self._up(fault.part):
            return False
        return self._kinds[fault.kind](fault)

    # Signals

    def _kill(self, fault: Fault) -> bool:
        self._let_work(fault)
        hit = self._caught_working(fault.part)
        self._expect(fault)
        self._victims.signal(fault.part, signal.SIGKILL)
        return hit

    def _restart(self, fault: Fault) -> bool:
        hit = self._victims.busy(fault.part)
        self._expect(fault)
        self._victims.signal(fault.part, signal.SIGTERM)
        return hit

    def _freeze(self, fault: Fault) -> bool:
        self._let_work(fault)
        hit = self._caught_working(fault.part, children=True)
        if fault.seconds > BEAT_TIMEOUT and fault.part.startswith("gpu-"):
            self._expect(fault)
        try:
            return self._lasting(fault, hit)
        finally:
            self._victims.signal(fault.part, signal.SIGCONT, children=True)

    def _child(self, fault: Fault) -> bool:
        self._let_work(fault)
        hit = self._found_working(fault.part)
        child = self._victims.child(fault.part)
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return hit and child != 0

    def _let_work(self, fault: Fault) -> None:
        """A job that has only begun has nothing to resume: leave it some time."""
        if fault.depth and fault.part.startswith("gpu-") and self._found_working(fault.part):
            self._sleep(fault.depth)

    def _caught_working(self, part: str, *, children: bool = False) -> bool:
        """Stop the part in the middle of its work, if that can be had; it is stopped on return.

        Only a stopped victim shows for certain that it is not done yet.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            self._victims.signal(part, signal.SIGSTOP, children=children)
            if self._finds_work(part):
                return True
            if time.monotonic() > deadline or self._arena.ending.is_set():
                return False
            self._victims.signal(part, signal.SIGCONT, children=children)
            time.sleep(_LOOK)

    def _finds_work(self, part: str) -> bool:
        """Whether work lies before a stopped part, or arrives within a moment that harms nobody."""
        until = time.monotonic() + SHORT
        while not self._victims.busy(part):
            if time.monotonic() > until:
                return False
            self._arena.burst()
            time.sleep(_LOOK)
        return True

    def _found_working(self, part: str) -> bool:
        deadline = time.monotonic() + PATIENCE
        while not self._victims.busy(part):
            if time.monotonic() > deadline or self._arena.ending.is_set():
                return False
            self._arena.burst()
            time.sleep(_LOOK)
        return True

    # Crash points and transactions

    def _crash(self, fault: Fault) -> bool:
        """Arm the point; it is a hit once the process has died there."""
        at_start = fault.detail == "scheduler_during_restore"
        if fault.detail == "gpu_mid_render":
            self._let_work(fault)
        with ExitStack() as meanwhile:
            if fault.detail in FENCE_POINTS:
                meanwhile.enter_context(self._a_silent_slot())
            with self._armed(fault, "") as marker:
                if at_start:
                    self._victims.signal(fault.part, signal.SIGKILL)
                hit = self._comes_by(marker)
        if hit and not at_start:
            self._expect(fault)
        return hit

    def _zombie(self, fault: Fault) -> bool:
        """Have the process freeze at the point, and wake up when others have taken over."""
        try:
            with self._armed(fault, "SIGSTOP") as marker:
                if not self._comes_by(marker):
                    return False
            self._expect(fault)
            self._sleep(fault.seconds)
            return True
        finally:
            self._victims.signal(fault.part, signal.SIGCONT, children=True)

    @contextmanager
    def _armed(self, fault: Fault, text: str) -> Iterator[Path]:
        folder = self._arena.stack.layout.work / fault.part / "crash"
        folder.mkdir(exist_ok=True)
        marker = folder / fault.detail
        write_private(marker, text)
        try:
            yield marker
        finally:
            marker.unlink(missing_ok=True)

    def _comes_by(self, marker: Path) -> bool:
        """Whether the process takes the marker, given work and time."""
        deadline = time.monotonic() + 3 * PATIENCE
        while marker.exists() and time.monotonic() < deadline:
            self._arena.burst()
            time.sleep(_LOOK)
        return not marker.exists()

    @contextmanager
    def _a_silent_slot(self) -> Iterator[None]:
        """A GPU consumer with a job in hand says nothing: the scheduler has one to fence."""
        part = "gpu-0"
        self._caught_working(part, children=True)
        try:
            yield
        finally:
            self._victims.signal(part, signal.SIGCONT, children=True)

    def _late_commit(self, fault: Fault) -> bool:
        """Keep an EndTxn back until its transaction has timed out, then deliver it."""
        proxy = self._arena.brokers[fault.part]
        before = proxy.lost
        proxy.keep[END_TXN] = 1
        deadline = time.monotonic() + 2 * PATIENCE
        while proxy.lost == before and time.monotonic() < deadline:
            self._arena.burst()
            time.sleep(_LOOK)
        proxy.keep[END_TXN] = 0
        if proxy.lost == before:
            return False
        self._sleep(fault.seconds)
        proxy.deliver()
        return True

    # Connections, disks, clocks

    def _link(self, fault: Fault) -> bool:
        hit = self._found_working(fault.part)
        if fault.detail == "kafka":
            proxy = self._arena.brokers[fault.part]
            proxy.half_open()
            try:
                return self._lasting(fault, hit)
            finally:
                proxy.heal()
        link = self._arena.links[fault.part, fault.detail]
        link.set(cast("Mode", fault.kind))
        try:
            return self._lasting(fault, hit)
        finally:
            link.set("open")

    def _outage(self, fault: Fault) -> bool:
        """The server is stopped in order, and stays down."""
        hit = self._victims.busy(fault.part)
        self._arena.stack.stop_process(fault.part)
        try:
            return self._lasting(fault, hit)
        finally:
            self._expect(fault)
            self._arena.stack.start_process(fault.part)

    def _full_disk(self, fault: Fault) -> bool:
        hit = self._found_working(fault.part)
        with no_room(tree(self._victims.pid(fault.part))):
            return self._lasting(fault, hit)

    def _clock(self, fault: Fault) -> bool:
        clock = self._arena.clocks[fault.part]
        hit = self._found_working(fault.part)
        clock.jump(fault.jump)
        try:
            return self._lasting(fault, hit)
        finally:
            clock.jump(0)

    # What they share

    def _lasting(self, fault: Fault, hit: bool) -> bool:  # noqa: FBT001 - known so far
        """Let it last; work that arrives meanwhile is work in flight too."""
        until = time.monotonic() + fault.seconds
        while (left := until - time.monotonic()) > 0 and not self._arena.ending.is_set():
            if not hit:
                self._arena.burst()
                hit = self._victims.busy(fault.part)
            time.sleep(min(left, 0.5))
        return hit

    def _sleep(self, seconds: float) -> None:
        self._arena.ending.wait(seconds)

    def _up(self, part: str) -> bool:
        deadline = time.monotonic() + _UP
        while self._victims.pid(part) == 0:
            if time.monotonic() > deadline or self._arena.ending.is_set():
                return False
            time.sleep(_LOOK)
        return True

    def _expect(self, fault: Fault) -> None:
        """Measure how long it takes until the part's work goes on."""
        arena = self._arena
        ends = arena.watch.ends()
        now = time.monotonic()
        topics = Topics()
        how = f"{fault.part} {_PAST[fault.kind]}"
        if fault.part == "kafka":
            arena.recovery.await_confirmation(
                f"broker {_PAST[fault.kind]} -> ingest accepts", fault.part, now
            )
        if ends is None:
            return
        if fault.part.startswith("gpu-"):
            job_id = arena.watch.in_hand(int(fault.part.removeprefix("gpu-")))
            if job_id is not None:
                what = f"worker {_PAST[fault.kind]} -> job resumed"
                arena.recovery.await_record(what, fault.part, now, goes_on(job_id, ends))
        elif fault.part == "scheduler":
            met = written(topics.state(arena.pool), ends)
            arena.recovery.await_record(f"{how} -> folding again", fault.part, now, met)
        elif fault.part in SERVERS:
            met = written(topics.events, ends, "Completed")
            arena.recovery.await_record(f"{how} -> a job completes", fault.part, now, met)
        elif fault.part in {"admission", "api"}:
            met = written(topics.events, ends, "Admitted")
            arena.recovery.await_record(f"{how} -> a job is admitted", fault.part, now, met)
