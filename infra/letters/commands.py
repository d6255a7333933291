"""``ttv dlq list``, ``show`` and ``redrive``: dead letters, for operators with access to Kafka.

What a command needs is imported when it runs, so that help answers at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from infra.stack.layout import DEFAULT_DATA
from infra.terminal import fail, print_json

if TYPE_CHECKING:
    from infra.letters.desk import Desk, Found, Outcome
    from infra.settings import Settings

Data = Annotated[
    Path, typer.Option("--data", envvar="TTV_DATA", help="Folder of the stack.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Since = Annotated[
    str, typer.Option(help="How far back: 30m, 12h, 7d, or a time as 2026-03-01T12:00:00Z.")
]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds that reading a topic may take.")]
Code = Annotated[str | None, typer.Option(help="Only letters with this reason code.")]
Tenant = Annotated[str | None, typer.Option(help="Only letters of this tenant.")]

#: Letters are kept for 30 days.
_ALL: Final = "30d"
#: A request, with all that it may hold, is far smaller.
_MOST_REQUEST: Final = 256 * 1024
_MOST_SHOWN: Final = 4 * 1024 * 1024
_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_out = Console(soft_wrap=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add ``dlq`` to ``app``."""
    dlq = typer.Typer(
        help="Dead letters: what could not be used or done, kept whole. Needs Kafka.",
        no_args_is_help=True,
    )
    dlq.command("list")(list_letters)
    dlq.command("show")(show)
    dlq.command("redrive")(redrive)
    app.add_typer(dlq, name="dlq")


def list_letters(
    code: Code = None,
    tenant: Tenant = None,
    since: Since = "7d",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    timeout: Timeout = 60,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first.

    Examples:

        ttv dlq list --code out_of_memory

        ttv dlq list --tenant acme --since 24h --json
    """
    from infra.letters.desk import Wanted
    from infra.letters.shown import summary

    with _desk(data, timeout, as_json) as desk:
        found = desk.find(Wanted(code, tenant), _moment(since, as_json), limit)
    if as_json:
        print_json(
            {
                "data": [summary(one) for one in found.letters],
                "more": found.more,
                "unreadable": found.unreadable,
            }
        )
        return
    _print_found(found)


def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The letter's id.")],
    prompt: Annotated[
        bool, typer.Option("--prompt", help="Show the prompts too: they are personal data.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="Write the record's own bytes to this file.")
    ] = None,
    since: Since = _ALL,
    timeout: Timeout = 60,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Show one dead letter: why, its job's attempts, and whether it can be redriven.

    Examples:

        ttv dlq show 5f0c2a52-6f0e-5d4e-9a63-8b7a3f6f2a10

        ttv dlq show 5f0c2a52-6f0e-5d4e-9a63-8b7a3f6f2a10 --prompt --json
    """
    from infra.letters.desk import Wanted
    from infra.letters.shown import details, summary

    wanted = Wanted(ids=frozenset({letter_id}))
    with _desk(data, timeout, as_json) as desk:
        found = desk.find(wanted, _moment(since, as_json), 1, _MOST_SHOWN)
        if not found.letters:
            fail(f"no dead letter {_plain(letter_id)} since {_plain(since)}", as_json)
        letter = found.letters[0]
        shown = summary(letter) | details(desk, letter, datetime.now(UTC), with_prompt=prompt)
    if save is not None:
        try:
            save.write_bytes(letter.letter.value or b"")
        except OSError as error:
            fail(f"{save}: {error.strerror}", as_json)
    if as_json:
        print_json(shown)
    else:
        _print_details(shown)


def redrive(
    letter_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of letters.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every letter that --code, --tenant and --since name.")
    ] = False,
    code: Code = None,
    tenant: Tenant = None,
    since: Since = _ALL,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="With --all: at most so many.")] = 200,
    rate: Annotated[float, typer.Option(min=0.01, help="At most so many a second.")] = 20,
    timeout: Timeout = 60,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Have dead letters tried again, each as a new job that runs once.

    The job's id follows from the letter: a letter that is redriven again, even at the same time,
    is the same job. Exit status 1 when some could not be redriven.

    Examples:

        ttv dlq redrive 5f0c2a52-6f0e-5d4e-9a63-8b7a3f6f2a10

        ttv dlq redrive --all --code store_unavailable --since 2h
    """
    from infra.letters.desk import Wanted

    ids = frozenset(letter_ids or ())
    if bool(ids) == all_:
        fail("name letters by their ids, or say --all with --code, --tenant or --since", as_json)
    outcomes: list[Outcome] = []

    def told(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if not as_json:
            job = f" as job {outcome.job_id}" if outcome.job_id else ""
            why = f": {outcome.detail}" if outcome.detail else ""
            _out.print(f"{outcome.id} {outcome.action}{job}{_plain(why)}", markup=False)

    with _desk(data, timeout, as_json) as desk:
        wanted = Wanted(code, tenant, ids or None)
        most = len(ids) or limit
        found = desk.find(wanted, _moment(since, as_json), most, _MOST_REQUEST)
        desk.redrive(reversed(found.letters), datetime.now(UTC), told, rate)
    missing = sorted(ids - {one.id for one in found.letters})
    if as_json:
        data_ = [_outcome(one) for one in outcomes]
        print_json({"data": data_, "missing": missing, "more": found.more})
    else:
        for name in missing:
            _out.print(f"{_plain(name)} missing: no such letter since {since}", markup=False)
        if found.more:
            _out.print(f"{found.more} more: repeat it with a larger --limit or another --since")
    if missing or any(one.action == "refused" for one in outcomes):
        raise typer.Exit(1)


def _settings(data: Path) -> Settings:
    """What the TTV_ settings name, or else the local stack in ``data``."""
    from infra.settings import Settings
    from infra.stack import info, services
    from infra.stack.layout import Layout

    if "TTV_KAFKA" in os.environ:
        return Settings()
    known = services.environment(info.read(Layout.of(data).info))
    fields = {name.removeprefix("TTV_").lower(): value for name, value in known.items()}
    return Settings.model_validate({**Settings().model_dump(exclude_unset=True), **fields})


@contextmanager
def _desk(data: Path, timeout: float, as_json: bool) -> Iterator[Desk]:
    from pydantic import ValidationError

    from infra.letters.desk import Desk
    from infra.letters.log import LettersError
    from schemas.codec import codec

    try:
        config = _settings(data)
    except FileNotFoundError:
        fail(
            f"no stack in {data}: start one with `ttv up`, name its folder with --data, or set "
            "TTV_KAFKA and TTV_REGISTRY",
            as_json,
        )
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        fail(f"the settings cannot be used: {error}", as_json)
    try:
        yield Desk(config, codec(config.registry), timeout)
    except LettersError as error:
        fail(str(error), as_json)
    except KeyboardInterrupt:
        fail("stopped; what was redriven can be redriven again without harm", as_json, code=130)


def _moment(text: str, as_json: bool) -> datetime:
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        fail("--since takes 30m, 12h, 7d, or a time as 2026-03-01T12:00:00Z", as_json)


def _outcome(one: Outcome) -> dict[str, Any]:
    return {"id": one.id, "action": one.action, "job_id": one.job_id, "detail": one.detail}


def _print_found(found: Found) -> None:
    for one in found.letters:
        letter = one.letter
        about = f"{one.id}  {one.at.isoformat(timespec='seconds')}  {_plain(letter.code)}"
        owner = _plain(f"  tenant {letter.tenant_id or '-'}  job {letter.job_id or '-'}")
        _out.print(f"{about}{owner}  attempts {letter.attempts}", markup=False)
    if not found.letters:
        _out.print("none")
    if found.more:
        _out.print(f"{found.more} more: repeat it with a larger --limit")
    if found.unreadable:
        _out.print(f"{found.unreadable} records of jobs.dlq are no letters")


def _print_details(shown: dict[str, Any]) -> None:
    for name, value in shown.items():
        if name == "history":
            for attempt in value:
                told = ", ".join(f"{key} {one}" for key, one in attempt.items() if one is not None)
                _out.print(f"  {_plain(told)}", markup=False)
        elif isinstance(value, dict):
            for key, one in value.items():
                if one not in (None, "", {}):
                    _out.print(f"{name}.{key}: {_plain(str(one))}", markup=False)
        elif value is not None:
            _out.print(f"{name}: {_plain(str(value))}", markup=False)


def _plain(text: str) -> str:
    """What others wrote, without the power to move a terminal's text."""
    return "".join(c if c.isprintable() else "?" for c in text[:2000])
