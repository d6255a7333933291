"""Wall clocks that jump under running processes: ``wall_clock.c``, compiled and preloaded."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("wall_clock.c")
_BYTES = 8


def compile_clock(folder: Path) -> Path:
    """The library to preload, made in ``folder``. Needs a C compiler, as Rust's linker does."""
    library = folder / "wall_clock.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


class WallClock:
    """The wall clock of one process, and of what it starts."""

    def __init__(self, library: Path, file: Path) -> None:
        self._library = library
        self._file = file
        self._file.write_bytes(bytes(_BYTES))

    @property
    def environment(self) -> dict[str, str]:
        """What the process must be started with."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK": str(self._file)}

    def jump(self, seconds: int) -> None:
        """Be wrong by so many seconds from now on; 0: right again."""
        with self._file.open("r+b") as file:
            file.write(seconds.to_bytes(_BYTES, "little", signed=True))
