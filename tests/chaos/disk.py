"""Full disks: a limit on the size of files, set on processes that run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: No file may grow beyond this while the disk is full.
_FULL: Final = "1024"
_PRLIMIT: Final = shutil.which("prlimit") or "/usr/bin/prlimit"


@contextmanager
def no_room(pids: Iterable[int]) -> Iterator[None]:
    """No file of these processes can grow: a write fails with EFBIG, as on a full disk."""
    before = {pid: limit for pid in pids if (limit := file_limit(pid)) is not None}
    for pid in before:
        _limit_files(pid, _FULL)
    try:
        yield
    finally:
        for pid, limit in before.items():
            _limit_files(pid, limit)


def file_limit(pid: int) -> str | None:
    """The soft limit of a process's files, in bytes or ``unlimited``; None if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            if line.startswith("Max file size"):
                return line.split()[3]
    return None


def _limit_files(pid: int, soft: str) -> None:
    """Set it; as the owner of the process, since root may lack the right in a container."""
    with suppress(FileNotFoundError):
        owner = Path(f"/proc/{pid}").stat()
        root = os.geteuid() == 0
        subprocess.run(
            [_PRLIMIT, f"--pid={pid}", f"--fsize={soft}:"],
            user=owner.st_uid if root else None,
            group=owner.st_gid if root else None,
            stderr=subprocess.DEVNULL,
            check=False,  # it may be gone by now
        )
