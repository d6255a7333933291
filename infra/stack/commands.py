"""``ttv up``, ``down``, ``status``, ``env``, ``doctor`` and ``config``.

What a command needs is imported when it runs, so that ``ttv --help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import shlex
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from infra.stack.layout import DEFAULT_DATA, Layout
from infra.terminal import fail, print_json

if TYPE_CHECKING:
    from infra.stack.info import StackInfo
    from infra.stack.stack import Stack

Data = Annotated[
    Path, typer.Option("--data", envvar="TTV_DATA", help="Folder of the stack.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_out = Console(soft_wrap=True, highlight=False)
_STAGES = {
    "servers": "starting Kafka, schema registry, S3, PostgreSQL and Valkey",
    "provision": "creating topics, schemas, bucket and tables",
    "service": "starting the service",
    "done": "waiting until it is ready",
}


def register(app: typer.Typer) -> None:
    """Add the commands of the local stack to ``app``."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)
    app.command("env")(env)
    app.command("doctor")(doctor)
    app.command("config")(config)


def up(
    data: Data = DEFAULT_DATA,
    gpus: Annotated[int, typer.Option(min=1, max=64, help="GPU consumers to start.")] = 2,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it is ready.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(help="'infra': the servers alone, without the service.")
    ] = None,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="Kafka with TLS, passwords, ACLs, and a topic per tenant."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Start the whole service on this machine, and stop it with Ctrl-C.

    Everything listens on loopback, on free ports that the folder keeps. What dies is restarted.
    Data stays in the folder. With --secure, passwords are in stack.json.

    Examples:

        ttv up

        ttv up --data /tmp/stack --gpus 4 --detach

        ttv up --secure
    """
    from infra.stack import AlreadyRunningError, Stack, StackError
    from infra.stack.servers import ServerError

    if only not in (None, "infra"):
        fail("--only knows 'infra' alone", as_json)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _interrupt)  # a shell's background job is born deaf to SIGINT

    def progress(stage: str) -> None:
        if not as_json:
            _out.print(f"  {_STAGES[stage]} ...")

    try:
        stack = Stack.start(
            data,
            gpus=gpus,
            only="infra" if only else None,
            secured=secure,
            tied=not detach,
            progress=progress,
        )
    except AlreadyRunningError as error:
        fail(str(error), as_json, code=3)
    except (StackError, ServerError, OSError) as error:
        fail(str(error), as_json)
    except KeyboardInterrupt:
        fail("stopped", as_json, code=130)
    _print_info(stack.info, as_json)
    if not detach:
        _stay(stack, as_json)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _stay(stack: Stack, as_json: bool) -> None:
    if not as_json:
        _out.print("Ctrl-C stops it.")
    try:
        stack.wait()
    except KeyboardInterrupt:
        if not as_json:
            _out.print("stopping ...")
    stack.stop()


def down(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Stop a running stack; its data stays.

    Examples:

        ttv down

        ttv down --data /tmp/stack
    """
    from infra.stack import Stack

    stack = Stack(data)
    if not stack.is_running():
        fail(f"no stack is running in {stack.layout.data}", as_json, code=3)
    stack.stop()
    if as_json:
        print_json({"stopped": str(stack.layout.data)})
    else:
        _out.print(f"stopped; its data stays in {stack.layout.data}")


def status(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Show what runs and where; exit status 3 when nothing does.

    Examples:

        ttv status

        ttv status --json | jq -r .http
    """
    from infra.stack import Stack

    stack = Stack(data)
    running = stack.is_running()
    if not running:
        if as_json:
            print_json({"running": False, "data": str(stack.layout.data)})
            raise typer.Exit(3)
        fail(f"no stack is running in {stack.layout.data}: start one with 'ttv up'", as_json, 3)
    if as_json:
        print_json({"running": True, **dataclasses.asdict(_masked(stack.info))})
        return
    _print_info(stack.info, as_json=False)
    table = Table("process", "state", "pid", box=None)
    for process in stack.info.processes:
        table.add_row(process.name, process.state, str(process.pid or "-"))
    _out.print(table)


def env(data: Data = DEFAULT_DATA) -> None:
    """Print the settings that point a process at the stack, for a shell to read.

    Examples:

        eval "$(ttv env)"
    """
    from infra.stack import info, services

    layout = Layout.of(data)
    try:
        known = info.read(layout.info)
    except FileNotFoundError:
        fail(f"there is no stack in {layout.data}: start one with 'ttv up'", as_json=False)
    for name, value in services.environment(known).items():
        print(f"export {name}={shlex.quote(value)}")


def doctor(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Check every dependency with a real request, and say how to mend what is wrong.

    Looks at the stack in --data when one runs there, else at what the TTV_ settings name.
    Exit status 1 when something is wrong.

    Examples:

        ttv doctor

        TTV_KAFKA=broker:9092 ttv doctor --json
    """
    from infra.stack import diagnosis

    findings = diagnosis.diagnose(Layout.of(data))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok[/]  " if finding.ok else "[red]FAIL[/]"
            _out.print(f"{mark} {finding.name:<10} {finding.address}")
            if not finding.ok:
                _out.print(f"       {finding.problem}\n       -> {finding.remedy}", markup=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def config(as_json: Json = False) -> None:
    """Show every setting, its value and what it means; secrets are masked.

    Examples:

        ttv config

        TTV_TENANT_RATE=10 ttv config --json
    """
    import pydantic

    from infra.settings import Settings

    try:
        values = Settings().model_dump(mode="json")
    except pydantic.ValidationError as error:
        fail(str(error), as_json)
    rows = {
        f"TTV_{name.upper()}": (values[name], field.description or "")
        for name, field in Settings.model_fields.items()
    }
    if as_json:
        print_json({name: value for name, (value, _) in rows.items()})
        return
    table = Table("setting", "value", "meaning", box=None)
    for name, (value, meaning) in rows.items():
        table.add_row(name, "" if value is None else str(value), meaning)
    _out.print(table)


def _masked(known: StackInfo) -> StackInfo:
    # `ttv status` may end up in a bug report; stack.json itself has the secrets.
    hidden = "**********"
    kafka = known.kafka_login
    if kafka is not None:
        kafka = dataclasses.replace(kafka, passwords=dict.fromkeys(kafka.passwords, hidden))

    def without_password(url: str) -> str:
        login, rest = url.rsplit("@", 1)
        return f"{login.rsplit(':', 1)[0]}:{hidden}@{rest}"

    return dataclasses.replace(
        known,
        kafka_login=kafka,
        api_key=hidden,
        webhook_secret=hidden,
        s3=dataclasses.replace(known.s3, secret_key=hidden),
        postgres=without_password(known.postgres),
        valkey=without_password(known.valkey),
    )


def _print_info(known: StackInfo, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(known))
        return
    shown = {
        "HTTP": known.http,
        "Kafka": known.kafka,
        "registry": known.registry,
        "S3": f"{known.s3.endpoint}/{known.s3.bucket}",
        "PostgreSQL": _masked(known).postgres,
        "Valkey": _masked(known).valkey,
        "stack.json": str(Layout.of(known.data).info),
        "logs": str(Layout.of(known.data).logs),
    }
    for name, value in shown.items():
        _out.print(f"{name:<11} {value}", markup=False)
