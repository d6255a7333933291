"""How ``ttv`` speaks to a person or to a program: JSON, and a failure in one line."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import typer


def print_json(value: Any) -> None:
    """Print a value for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def fail(message: str, as_json: bool, code: int = 1) -> NoReturn:  # noqa: FBT001 a flag's value
    """End the command with one line, or one JSON object, that says why.

    Raises:
        typer.Exit: always.
    """
    if as_json:
        print_json({"error": message})
    else:
        sys.stderr.write(f"ttv: {message}\n")
    raise typer.Exit(code)
