"""What must be on the machine before any work is done, and the one line that says how to get it.

Standard library only: this runs before the virtual environment exists.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from infra.setup import paths, toolchain


def oldest_rust() -> tuple[int, int]:
    """Oldest compiler that builds the Rust library, as the workspace says."""
    workspace = tomllib.loads((paths.ROOT / "Cargo.toml").read_text())["workspace"]
    major, minor = workspace["package"]["rust-version"].split(".")[:2]
    return int(major), int(minor)


def missing(env: dict[str, str]) -> list[str]:
    """One line for each thing that is missing, naming the package to install; empty when ready."""
    return [line for line in (_venv(), _rust(env), _linker(env)) if line]


def _venv() -> str | None:
    lacking = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if not lacking:
        return None
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return (
        f"Python's {' and '.join(lacking)} missing for {sys.executable}: "
        f"install the package python{version}-venv (apt-get install python{version}-venv)"
    )


def _rust(env: dict[str, str]) -> str | None:
    oldest = oldest_rust()
    hint = f"install Rust {oldest[0]}.{oldest[1]} or newer with rustup (https://rustup.rs)"
    for tool in ("cargo", "rustc"):
        if shutil.which(tool, path=env.get("PATH")) is None:
            return f"{tool} is not on PATH: {hint}"
        version = toolchain.runs([tool, "--version"], env)
        if version is None:
            reason = _why([tool, "--version"], env)
            return f"{tool} is on PATH but does not run ({reason}): {hint}"
        found = re.search(r"(\d+)\.(\d+)", version)
        if found and (int(found[1]), int(found[2])) < oldest:
            return f"{version} is too old: {hint}"
    return None


def _linker(env: dict[str, str]) -> str | None:
    hint = "install a C compiler and its headers (apt-get install build-essential)"
    if shutil.which("cc", path=env.get("PATH")) is None:
        return f"cc, which Rust links with, is not on PATH: {hint}"
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "probe.c")
        source.write_text('#include <stdio.h>\nint main(void) { return puts("") < 0; }\n')
        command = ["cc", str(source), "-o", str(Path(scratch, "probe"))]
        if toolchain.runs(command, env) is None:
            return f"cc cannot build a program ({_why(command, env)}): {hint}"
    return None


def _why(command: list[str], env: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
