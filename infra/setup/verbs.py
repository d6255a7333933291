"""What ``python3 -m infra.setup`` does. Standard library only."""

from __future__ import annotations

import fcntl
import os
import sys
import time

from infra.setup import locks, paths, plan, preflight, toolchain
from infra.setup.steps import Runner, StepError


def set_up(env: dict[str, str]) -> int:
    """Make what is missing or out of date; returns the exit status."""
    paths.CACHE.mkdir(exist_ok=True)
    with (paths.CACHE / "setup.lock").open("w") as lock:
        # Two makes at once would build into the same folders: the second waits, and finds all done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _set_up(env)


def _set_up(env: dict[str, str]) -> int:
    runner = Runner(plan.steps(env), paths.STAMPS, paths.ROOT, sys.stdout, time.monotonic)
    stale = runner.stale()
    if not stale:
        return 0
    if problems := preflight.missing(toolchain.cargo_env(env)):
        for line in problems:
            print(f"setup: {line}", file=sys.stderr)
        return 1
    start = time.monotonic()
    print(f"setup: {len(stale)} steps, those that can run side by side", flush=True)
    try:
        runner.run()
    except StepError as error:
        print(f"\nsetup: {error}", file=sys.stderr)
        return 1
    print(f"setup: ready after {time.monotonic() - start:.0f} s", flush=True)
    return 0


def lock(env: dict[str, str]) -> int:
    """Resolve every lock file anew; returns the exit status."""
    try:
        locks.resolve(env)
    except StepError as error:
        print(f"lock: {error}", file=sys.stderr)
        return 1
    return 0


def cargo(arguments: list[str], env: dict[str, str]) -> int:
    """Become cargo with set-up's environment; returns only when there is no cargo."""
    ready = toolchain.cargo_env(toolchain.python_env(env))
    try:
        os.execvpe("cargo", ["cargo", *arguments], ready)  # noqa: S606, S607 - the user's own cargo
    except OSError as error:
        print(f"cargo: {error}", file=sys.stderr)
        return 127
