"""What producers were told, kept outside the stack: written and synced before anything else."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Way = Literal["http", "kafka"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job whose acceptance was confirmed: by a 202, or by the broker's acknowledgement."""

    job_id: str
    tenant_id: str
    way: Way


@dataclass(frozen=True, slots=True)
class Cancelling:
    """A cancel is about to be asked for: from now on the job may end so."""

    job_id: str


@dataclass(frozen=True, slots=True)
class BadRecord:
    """Bytes that are no request, acknowledged by the broker: they must become a dead letter."""

    topic: str
    partition: int
    offset: int


Entry = Accepted | Cancelling | BadRecord


class Journal:
    """Appends entries to a file. Thread-safe.

    Attributes:
        accepted: Jobs by id.
        cancelling: Ids of jobs whose cancel was asked for.
        bad: Bad records.
    """

    def __init__(self, path: Path) -> None:
        self.accepted: dict[str, Accepted] = {}
        self.cancelling: set[str] = set()
        self.bad: list[BadRecord] = []
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def note(self, entries: Iterable[Entry]) -> None:
        """Write the entries; returns once they are on the disk."""
        with self._lock:
            for entry in entries:
                self._remember(entry)
                line = {"entry": type(entry).__name__, **asdict(entry)}
                self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _remember(self, entry: Entry) -> None:
        match entry:
            case Accepted():
                self.accepted[entry.job_id] = entry
            case Cancelling():
                self.cancelling.add(entry.job_id)
            case BadRecord():
                self.bad.append(entry)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
