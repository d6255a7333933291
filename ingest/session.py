"""What commands of the API's users share: a client whose errors end the command, and safe text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from infra.terminal import fail, print_json

if TYPE_CHECKING:
    from ingest.client import Client


@contextmanager
def connected(data: Path, as_json: bool) -> Iterator[Client]:
    """A client of the API; what it raises ends the command, said as the user asked for it."""
    from ingest.client import ApiError, Client, Refused

    try:
        with Client.of_stack(data) as client:
            yield client
    except Refused as error:
        if as_json:
            print_json({"error": str(error), "problem": error.problem})
            raise typer.Exit(1) from None
        fail(str(error), as_json)
    except ApiError as error:
        fail(str(error), as_json)
    except KeyboardInterrupt:
        fail("stopped", as_json, code=130)


def plain(text: str) -> str:
    """What others wrote, without the power to style or move a terminal's text."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable.replace("[", r"\[")
