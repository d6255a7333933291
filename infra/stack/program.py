"""A program of the stack, as data: what to run, how to stop it, and how to look it up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Group = Literal["infra", "apps", "gpus"]
#: Groups in the order in which they start; they stop in the reverse order.
GROUPS: tuple[Group, ...] = ("infra", "apps", "gpus")

# What a program may inherit from the shell that started the stack; all else is set on purpose.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "SSL_CERT_FILE")


def base_environment() -> dict[str, str]:
    """The environment that every program starts from."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


@dataclass(frozen=True)
class Program:
    """One process of the stack.

    Attributes:
        name: its name in ``ttv status`` and of its log file.
        argv: absolute path and arguments.
        group: servers start first and stop last.
        env: its whole environment.
        cwd: its working directory.
        user: account to run as when started by root; None keeps the current one.
        stop_signal: sent by ``ttv down``, without ``SIG``.
        stop_seconds: SIGKILL follows after this long.
        death_signal: sent by the kernel when the supervisor is gone.
        settled_seconds: a process that ends sooner counts as failed and is restarted with backoff.
    """

    name: str
    argv: list[str]
    group: Group = "infra"
    env: Mapping[str, str] = field(default_factory=base_environment)
    cwd: Path = Path("/")
    user: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    death_signal: str = "SIGKILL"
    settled_seconds: int = 3
