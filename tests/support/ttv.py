"""The command line as an operator runs it, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.stack import Stack
from infra.stack.services import environment, python_environment


@dataclass(frozen=True)
class Ttv:
    """``ttv`` with the settings of a stack; ``env`` wins over them."""

    env: Mapping[str, str]

    @classmethod
    def of(cls, stack: Stack, **env: str) -> Ttv:
        """The command line of the stack's operator."""
        info = stack.info
        own = {"TTV_URL": info.http, "TTV_API_KEY": info.api_key, "TTV_DATA": info.data}
        return cls({**python_environment(), **environment(info), **own, **env})

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "ingest.cli", *arguments],
            env=dict(self.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0, seconds: float = 100) -> str:
        """What a command prints; it must end with ``status``."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=seconds)
        assert process.returncode == status, out + err
        return out + err

    def json(self, *arguments: str, status: int = 0) -> Any:
        """What a command prints for programs."""
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=100)
        assert process.returncode == status, out + err
        return json.loads(out)
