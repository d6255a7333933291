"""What the commands of the API's users share: options, the client, and what they print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column

from infra.terminal import fail, print_json

if TYPE_CHECKING:
    from ingest.client import Client

Data = Annotated[
    Path, typer.Option("--data", envvar="TTV_DATA", help="Folder of the stack.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

out: Final = Console(soft_wrap=True, highlight=False)


@contextmanager
def client_of(data: Path, as_json: bool) -> Iterator[Client]:
    """The API's client; what goes wrong with it is one message, and the command's end."""
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


def id_column() -> Column:
    """A column for ids, never cut short."""
    return Column("id", min_width=36, no_wrap=True)


def plain(text: str) -> str:
    """What others wrote, without the power to style or move a terminal's text."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable.replace("[", r"\[")


def show(value: dict[str, Any], as_json: bool, text: str) -> None:
    """Print ``value`` for programs, or ``text`` for people."""
    if as_json:
        print_json(value)
    else:
        out.print(text, markup=False)
