"""The schedule of a storm: a seed and the parts, dealt out as faults. Pure.

Faults are dealt from a shuffled pack that holds every kind of fault for every part, so that no part
is spared for long; when a pack is used up, the next one is shuffled. A part's weight is how often
it is in a pack.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

#: Crash points, by the part that passes them.
GPU_POINTS: Final = (
    "gpu_after_poll",
    "gpu_after_claim",
    "gpu_started_before_commit",
    "gpu_mid_render",
    "gpu_after_checkpoint",
    "gpu_before_upload",
    "gpu_after_upload",
    "gpu_before_send_offsets",
    "gpu_before_commit",
    "gpu_after_commit",
)
SCHEDULER_POINTS: Final = (
    "scheduler_during_restore",
    "scheduler_after_read",
    "scheduler_before_send_offsets",
    "scheduler_before_commit",
    "scheduler_after_commit",
)
#: Passed while the scheduler fences a slot that fell silent.
FENCE_POINTS: Final = ("fence_before_init", "fence_before_commit")
ADMISSION_POINTS: Final = (
    "admission_after_state",
    "admission_after_output",
    "admission_before_ack",
    "admission_before_commit",
)
LETTER_POINTS: Final = (
    "dead-letters_after_state",
    "dead-letters_before_ack",
    "dead-letters_before_commit",
)
COLLECTOR_POINTS: Final = ("collector_before_ack",)
WORKER_POINTS: Final = (
    "projection_before_offsets",
    "projection_before_commit",
    "projection_after_commit",
)
#: Where a frozen process is most dangerous once it wakes up.
GPU_ZOMBIES: Final = ("gpu_after_upload", "gpu_before_send_offsets", "gpu_before_commit")
SCHEDULER_ZOMBIES: Final = ("scheduler_before_send_offsets", "scheduler_before_commit")
API_POINTS: Final = ("after_submit_commit",)

#: A slot, and whoever else beats or heartbeats, is given up after this many seconds of silence.
BEAT_TIMEOUT: Final = 6.0
#: Within what a part may be silent, and beyond it.
SHORT: Final = 1.0
LONG: Final = BEAT_TIMEOUT + 4.0
#: Kafka ends a transaction that was left open for this long.
TRANSACTION_TIMEOUT: Final = 10.0
MINUTE: Final = 60.0
HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        part: Process it strikes.
        kind: kill, restart, freeze, child, crash, zombie, late-commit, slow, half-open, refused,
            outage, full-disk or clock.
        detail: Crash point, or the server at the other end of the connection.
        seconds: How long it lasts; 0: at once.
        jump: Seconds by which the part's clock goes wrong.
        pause: Seconds of peace before it.
        depth: Seconds that a GPU consumer works on a job before it is struck.
    """

    part: str
    kind: str
    detail: str = ""
    seconds: float = 0.0
    jump: int = 0
    pause: float = 0.0
    depth: float = 0.0

    def __str__(self) -> str:
        what = " ".join(word for word in (self.part, self.kind, self.detail) if word)
        jump = f" {self.jump:+d} s" if self.jump else ""
        return f"{what}{jump}" + (f" for {self.seconds:.0f} s" if self.seconds else "")


def gpu_faults(part: str) -> list[Fault]:
    """What can happen to a GPU consumer."""
    return [
        Fault(part, "kill"),
        Fault(part, "kill"),
        Fault(part, "child"),
        Fault(part, "freeze", seconds=SHORT),
        Fault(part, "freeze", seconds=LONG),
        Fault(part, "late-commit", "kafka", TRANSACTION_TIMEOUT + 2),
        Fault(part, "slow", "s3", 5),
        Fault(part, "half-open", "s3", 8),
        Fault(part, "half-open", "kafka", LONG),
        Fault(part, "full-disk", seconds=4),
        Fault(part, "clock", seconds=6, jump=HOUR),
        Fault(part, "clock", seconds=6, jump=-HOUR),
        *(Fault(part, "crash", point) for point in GPU_POINTS),
        *(Fault(part, "zombie", point, LONG) for point in GPU_ZOMBIES),
    ]


def _of(part: str, points: Collection[str], *more: Fault) -> list[Fault]:
    """What can happen to any part that is one process without a child."""
    return [
        Fault(part, "kill"),
        Fault(part, "freeze", seconds=SHORT),
        Fault(part, "freeze", seconds=LONG),
        Fault(part, "clock", seconds=6, jump=HOUR),
        Fault(part, "clock", seconds=6, jump=-HOUR),
        *(Fault(part, "crash", point) for point in points),
        *more,
    ]


def _postgres_links(part: str) -> list[Fault]:
    return [
        Fault(part, "slow", "postgres", 4),
        Fault(part, "half-open", "postgres", 8),
        Fault(part, "refused", "postgres", 4),
    ]


def _server(part: str, *more: Fault) -> list[Fault]:
    return [
        Fault(part, "kill"),
        Fault(part, "restart"),
        Fault(part, "freeze", seconds=5),
        Fault(part, "outage", seconds=5),
        *more,
    ]


def pack(gpus: int) -> list[Fault]:
    """Every fault there is, in order: one GPU consumer has all kinds, the others the kills."""
    slots = [f"gpu-{slot}" for slot in range(gpus)]
    return [
        *gpu_faults(slots[0]),
        *(Fault(slot, kind) for slot in slots[1:] for kind in ("kill", "child")),
        *(Fault(slot, "freeze", seconds=LONG) for slot in slots[1:]),
        *_of(
            "scheduler",
            SCHEDULER_POINTS,
            *(Fault("scheduler", "crash", point) for point in FENCE_POINTS),
            *(Fault("scheduler", "zombie", point, LONG) for point in SCHEDULER_ZOMBIES),
            Fault("scheduler", "late-commit", "kafka", TRANSACTION_TIMEOUT + 2),
            Fault("scheduler", "half-open", "kafka", LONG),
        ),
        *_of("admission", ADMISSION_POINTS),
        *_of("dead-letters", LETTER_POINTS),
        *_of("collector", COLLECTOR_POINTS),
        *_of("worker", WORKER_POINTS, *_postgres_links("worker")),
        *_of("api", API_POINTS, *_postgres_links("api")),
        *_server(
            "kafka",
            Fault("kafka", "kill"),
            Fault("kafka", "freeze", seconds=TRANSACTION_TIMEOUT + 2),
            Fault("kafka", "freeze", seconds=MINUTE),
            Fault("kafka", "full-disk", seconds=3),
            Fault("kafka", "clock", seconds=6, jump=HOUR),
            Fault("kafka", "clock", seconds=6, jump=-HOUR),
        ),
        *_server("s3", Fault("s3", "full-disk", seconds=4)),
        *_server("postgres", Fault("postgres", "full-disk", seconds=3)),
        *_server("registry"),
    ]


def brief(gpus: int) -> list[Fault]:
    """A fault of each sort for each part, none of them long: for a storm of a minute and a half."""
    last = f"gpu-{gpus - 1}"
    return [
        Fault("gpu-0", "kill"),
        Fault("gpu-0", "crash", "gpu_after_upload"),
        Fault(last, "freeze", seconds=SHORT),
        Fault(last, "half-open", "s3", 3),
        Fault(last, "crash", "gpu_before_commit"),
        Fault("scheduler", "crash", "scheduler_before_commit"),
        Fault("scheduler", "kill"),
        Fault("admission", "crash", "admission_after_output"),
        Fault("worker", "kill"),
        Fault("api", "kill"),
        Fault("dead-letters", "kill"),
        Fault("collector", "kill"),
        Fault("kafka", "kill"),
        Fault("s3", "freeze", seconds=2),
        Fault("postgres", "kill"),
    ]


_AT_POINTS: Final = frozenset({"crash", "zombie"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which faults of a pack are dealt; an empty set means all.

    Attributes:
        parts: Names of parts; ``gpu`` stands for every GPU consumer.
        kinds: Kinds of faults.
        points: Crash points.
    """

    parts: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    points: frozenset[str] = frozenset()

    def __call__(self, fault: Fault) -> bool:
        """Whether the fault is wanted."""
        part = "gpu" if fault.part.startswith("gpu-") else fault.part
        return (
            (not self.parts or fault.part in self.parts or part in self.parts)
            and (not self.kinds or fault.kind in self.kinds)
            and (not self.points or fault.kind not in _AT_POINTS or fault.detail in self.points)
        )


def plan(
    seed: int,
    faults: list[Fault],
    slots: int,
    pauses: tuple[float, float],
    depths: tuple[float, float] = (0.0, 0.0),
) -> Iterator[Fault]:
    """Deal faults without end; the same arguments deal the same.

    Args:
        seed: Of the schedule.
        faults: The pack.
        slots: GPU consumers whose connections can be disturbed: the faults of gpu-0 are dealt to
            any of these.
        pauses: Least and most seconds before a fault.
        depths: Least and most seconds of work before a GPU consumer is struck.

    Raises:
        ValueError: the pack is empty.
    """
    if not faults:
        raise ValueError("no fault is wanted: look at the parts, kinds and points that were named")
    chance, deep = random.Random(seed), random.Random(f"depths of {seed}")
    while True:
        dealt = list(faults)
        chance.shuffle(dealt)
        for fault in dealt:
            part = f"gpu-{chance.randrange(slots)}" if fault.part == "gpu-0" else fault.part
            pause, depth = round(chance.uniform(*pauses), 2), round(deep.uniform(*depths), 2)
            yield replace(fault, part=part, pause=pause, depth=depth)
