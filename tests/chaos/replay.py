"""A recorded history replayed through the model's own transitions."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.setup import paths

_SECONDS: Final = 600


@dataclass(frozen=True)
class Replayed:
    """Whether the model was there, whether it allows the history, and what it said."""

    done: bool
    allowed: bool
    told: str


def replay(history: Path) -> Replayed:
    """Run the model's replay over the file."""
    if not (paths.ROOT / "rust_guard" / "model" / "Cargo.toml").exists():
        return Replayed(done=False, allowed=True, told="there is no model here")
    command = [sys.executable, "-m", "infra.setup", "cargo", "run", "--release", "--locked"]
    command += ["--quiet", "-p", "guard-model", "--", "replay", str(history)]
    done = subprocess.run(
        command, cwd=paths.ROOT, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    return Replayed(True, done.returncode == 0, (done.stderr or done.stdout).strip()[-2000:])
