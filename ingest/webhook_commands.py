"""``ttv webhooks``: endpoints, their secrets and their deliveries, over the HTTP API alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from infra.stack.layout import DEFAULT_DATA
from infra.terminal import fail, print_json
from ingest.commands import Data, Json
from ingest.session import connected, plain

EndpointId = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.")]
Event = Annotated[
    list[str] | None,
    typer.Option(help="Completed, Failed, Cancelled, Refused or Expired; again for more."),
]
Form = Annotated[str | None, typer.Option("--format", help="native or openai.")]

_PATH: Final = "/v1/webhooks"
_out: Final = Console(soft_wrap=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    webhooks = typer.Typer(help="Endpoints that are told when jobs end.", no_args_is_help=True)
    for command in (add, update, rotate, deliveries, replay, remove):
        webhooks.command(command.__name__)(command)
    webhooks.command("list")(list_endpoints)
    webhooks.command("test")(send_test)
    app.add_typer(webhooks, name="webhooks")


def add(
    url: Annotated[str, typer.Argument(help="http or https.")],
    event: Event = None,
    form: Form = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Register an endpoint and print its secret, which is shown this once.

    Examples:

        ttv webhooks add https://example.com/hooks --event Completed --event Failed
    """
    with connected(data, as_json) as client:
        made = client.call("POST", _PATH, {"url": url} | _given(events=event, format=form))
    _show(made, as_json, f"{made['id']}\nsecret: {made['secret']}")


def list_endpoints(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """List the endpoints.

    Examples:

        ttv webhooks list --json
    """
    with connected(data, as_json) as client:
        found = client.call("GET", _PATH)
    if as_json:
        print_json(found)
        return
    table = Table(_id_column(), "url", "events", "state", box=None, pad_edge=False)
    for item in found["data"]:
        kinds = ", ".join(item["events"] or ["all"])
        table.add_row(item["id"], plain(item["url"]), kinds, item["disabled_reason"] or "enabled")
    _out.print(table)


def update(
    endpoint_id: EndpointId,
    url: Annotated[str | None, typer.Option(help="What is due goes there too.")] = None,
    event: Event = None,
    form: Form = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Send again, or no more.")
    ] = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Change an endpoint, or enable one again that was disabled.

    Examples:

        ttv webhooks update 2f6f0f3e-5b0a-4ad6-8a53-0a5f7f0c9d10 --enable
    """
    change = _given(url=url, events=event, format=form, enabled=enabled)
    if not change:
        fail("nothing to change: give --url, --event, --format, --enable or --disable", as_json)
    with connected(data, as_json) as client:
        row = client.call("PATCH", f"{_PATH}/{endpoint_id}", change)
    _show(row, as_json, f"{row['id']} {row['disabled_reason'] or 'enabled'}")


def rotate(endpoint_id: EndpointId, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Give an endpoint a new secret; the one before it signs too for a while.

    Examples:

        ttv webhooks rotate 2f6f0f3e-5b0a-4ad6-8a53-0a5f7f0c9d10
    """
    with connected(data, as_json) as client:
        row = client.call("POST", f"{_PATH}/{endpoint_id}/rotate")
    until = row["previous_secret_until"]
    _show(row, as_json, f"secret: {row['secret']}\nthe one before signs until {until}")


def send_test(endpoint_id: EndpointId, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Send an endpoint a signed test, even if it is disabled.

    Examples:

        ttv webhooks test 2f6f0f3e-5b0a-4ad6-8a53-0a5f7f0c9d10
    """
    with connected(data, as_json) as client:
        row = client.call("POST", f"{_PATH}/{endpoint_id}/test")
    _show(row, as_json, f"{row['id']} is under way: ttv webhooks deliveries {endpoint_id}")


def deliveries(
    endpoint_id: EndpointId,
    status: Annotated[
        str | None, typer.Option(help="pending, delivered, failed or notice.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Goes on where a page ended.")] = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List what was sent to an endpoint, newest first.

    Examples:

        ttv webhooks deliveries 2f6f0f3e-5b0a-4ad6-8a53-0a5f7f0c9d10 --status failed
    """
    params = _given(status=status, limit=limit, cursor=cursor)
    with connected(data, as_json) as client:
        page = client.call("GET", f"{_PATH}/{endpoint_id}/deliveries", params=params)
    if as_json:
        print_json(page)
        return
    table = Table(
        _id_column(), "event", "status", "tries", "last", "made", box=None, pad_edge=False
    )
    for item in page["data"]:
        last = item["last_error"] or item["last_status"] or ""
        tries = str(item["attempts"])
        table.add_row(
            item["id"], item["event"], item["status"], tries, str(last), item["created_at"]
        )
    _out.print(table)
    if page["next_cursor"]:
        _out.print(f"more: ttv webhooks deliveries {endpoint_id} --cursor {page['next_cursor']}")


def replay(
    endpoint_id: EndpointId,
    delivery: Annotated[str | None, typer.Option(help="One delivery's id: msg_...")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="All that were made since this time; UTC.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="And before this time; UTC.")] = None,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Not those that were delivered.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Send one delivery again, or all since a time; each keeps its webhook-id.

    Examples:

        ttv webhooks replay 2f6f0f3e-5b0a-4ad6-8a53-0a5f7f0c9d10 --since 2026-03-01 --only-failed
    """
    if (delivery is None) == (since is None):
        fail("give either --delivery or --since", as_json)
    path = f"{_PATH}/{endpoint_id}"
    with connected(data, as_json) as client:
        if delivery is not None:
            row = client.call("POST", f"{path}/deliveries/{delivery}/replay")
            _show(row, as_json, f"{delivery} is {row['status']}")
            return
        count, following = 0, _utc(since)
        body = _given(until=_utc(until), only_failed=only_failed)
        while following is not None:
            done = client.call("POST", f"{path}/replay", body | {"since": following})
            count, following = count + done["replayed"], done["next_since"]
    _show({"id": endpoint_id, "replayed": count}, as_json, f"{count} deliveries are due again")


def remove(endpoint_id: EndpointId, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Remove an endpoint; what is still due there is not sent.

    Examples:

        ttv webhooks remove 2f6f0f3e-5b0a-4ad6-8a53-0a5f7f0c9d10
    """
    with connected(data, as_json) as client:
        client.call("DELETE", f"{_PATH}/{endpoint_id}")
    _show({"id": endpoint_id, "removed": True}, as_json, "removed")


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.isoformat()}Z"


def _id_column() -> Column:
    return Column("id", min_width=36, no_wrap=True)


def _show(value: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print_json(value)
    else:
        _out.print(text, markup=False)
