"""Environments for the tools that set-up runs: every download and cache stays in the checkout.

Standard library only: this runs before the virtual environment exists.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from infra.setup import paths


def account_home() -> Path:
    """The account's home as the system knows it, whatever ``HOME`` says."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


def runs(command: list[str], env: dict[str, str]) -> str | None:
    """First line that ``command`` prints, or None when it cannot run or fails."""
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout.strip().splitlines() or [""])[0] if done.returncode == 0 else None


def cargo_env(base: dict[str, str]) -> dict[str, str]:
    """``base`` with what cargo needs, also where ``HOME`` is empty and cargo is rustup's proxy.

    A rustup proxy looks for toolchains below ``HOME``; when it finds none there, those of the
    account's real home are named. Its registry cache goes to the checkout.
    """
    env = dict(base)
    home = account_home()
    if shutil.which("cargo", path=env.get("PATH")) is None and (home / ".cargo/bin/cargo").exists():
        env["PATH"] = f"{home / '.cargo' / 'bin'}:{env.get('PATH', '')}"
    toolchains = Path(".rustup") / "toolchains"
    # Looked up, not tried: a proxy that finds nothing writes its settings below HOME.
    if (
        "RUSTUP_HOME" not in env
        and not ("HOME" in env and (Path(env["HOME"]) / toolchains).is_dir())
        and (home / toolchains).is_dir()
    ):
        env["RUSTUP_HOME"] = str(home / ".rustup")
    env.setdefault("CARGO_HOME", str(paths.CACHE / "cargo"))
    env.setdefault("PYO3_PYTHON", str(paths.VENV_PYTHON))
    return env


def python_env(base: dict[str, str]) -> dict[str, str]:
    """``base`` for pip and uv: caches in the checkout, no user configuration of the interpreter."""
    env = dict(base)
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"):
        env.pop(name, None)
    env["UV_CACHE_DIR"] = str(paths.CACHE / "uv")
    env["UV_PYTHON_DOWNLOADS"] = "never"
    env["PIP_CACHE_DIR"] = str(paths.CACHE / "pip")
    env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    env["VIRTUAL_ENV"] = str(paths.VENV)
    return env


def go_env(base: dict[str, str]) -> dict[str, str]:
    """``base`` for Go from its wheel; go.sum holds the hashes, so no checksum server is asked."""
    env = dict(base)
    for name in ("GOROOT", "GOBIN", "GOTOOLDIR"):
        env.pop(name, None)
    # The user's settings, such as a proxy, still count; what Go itself writes goes to the cache.
    settings = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/"), ".config"))
    env.setdefault("GOENV", str(settings / "go" / "env"))
    env["XDG_CONFIG_HOME"] = str(paths.CACHE / "go" / "config")
    env["GOPATH"] = str(paths.CACHE / "go" / "path")
    env["GOMODCACHE"] = str(paths.CACHE / "go" / "path" / "pkg" / "mod")
    env["GOCACHE"] = str(paths.CACHE / "go" / "build")
    env["GOFLAGS"] = "-mod=readonly -modcacherw -buildvcs=false"
    env["GOTOOLCHAIN"] = "local"
    env["GOSUMDB"] = "off"
    env["CGO_ENABLED"] = "0"
    return env
