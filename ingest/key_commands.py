"""``ttv keys``: make, list, rotate and revoke API keys. It speaks to the HTTP API alone."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from infra.stack.layout import DEFAULT_DATA
from infra.terminal import print_json
from ingest.commands import Data, Json
from ingest.session import connected, plain

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id.")]
Life = Annotated[
    int | None, typer.Option("--expires-in", min=60, help="Seconds until the secret expires.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    keys = typer.Typer(help="API keys of all tenants, for admins.", no_args_is_help=True)
    keys.command("create")(create)
    keys.command("list")(list_keys)
    keys.command("rotate")(rotate)
    keys.command("revoke")(revoke)
    app.add_typer(keys, name="keys")


def create(
    tenant: Annotated[str, typer.Argument(help="Whose jobs it sees.")],
    role: Annotated[str, typer.Option(help="viewer, creator, operator or admin.")] = "creator",
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="Limits it to this action; may be repeated.")
    ] = None,
    expires_in: Life = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Make a key and print its secret, which nothing shows again.

    Examples:

        ttv keys create acme --name "render farm"

        ttv keys create acme --role viewer --scope jobs:read --expires-in 86400
    """
    body: dict[str, Any] = {"tenant_id": tenant, "role": role, "name": name}
    body |= {"scopes": scope or None, "expires_in_s": expires_in}
    with connected(data, as_json) as client:
        made = client.call("POST", "/v1/keys", body)
    _show(made, as_json, made["key"])


def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.")] = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List keys, revoked and expired ones too; never a secret.

    Examples:

        ttv keys list --tenant acme
    """
    query = {} if tenant is None else {"tenant_id": tenant}
    found: list[dict[str, Any]] = []
    with connected(data, as_json) as client:
        cursor: str | None = ""
        while cursor is not None:
            at = {"cursor": cursor} if cursor else {}
            page = client.call("GET", "/v1/keys", params={"limit": 100, **query, **at})
            found += page["data"]
            cursor = page["next_cursor"]
    if as_json:
        print_json({"data": found})
        return
    table = Table(
        Column("id", min_width=36, no_wrap=True),
        "tenant",
        "role",
        "name",
        "last used",
        "ends",
        box=None,
        pad_edge=False,
    )
    for key in found:
        ends = "revoked" if key["revoked_at"] else _day(key["expires_at"])
        used = _day(key["last_used_at"])
        table.add_row(key["id"], key["tenant_id"], key["role"], plain(key["name"]), used, ends)
    Console(soft_wrap=True, highlight=False).print(table)


def rotate(
    key_id: KeyId,
    overlap: Annotated[
        int, typer.Option(min=0, help="Seconds for which the old secret is valid too.")
    ] = 86_400,
    expires_in: Life = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Give a key a new secret and print it; the old one stays valid for the overlap.

    Examples:

        ttv keys rotate 2f6f0f3e-5b0a-4ad6-8a53-0a5f7f0c9d10 --overlap 3600
    """
    body = {"overlap_s": overlap, "expires_in_s": expires_in}
    with connected(data, as_json) as client:
        made = client.call("POST", f"/v1/keys/{key_id}/rotate", body)
    _show(made, as_json, made["key"])


def revoke(key_id: KeyId, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """End a key at once and for good; its jobs go on.

    Examples:

        ttv keys revoke 2f6f0f3e-5b0a-4ad6-8a53-0a5f7f0c9d10
    """
    with connected(data, as_json) as client:
        ended = client.call("POST", f"/v1/keys/{key_id}/revoke")
    _show(ended, as_json, "revoked")


def _day(moment: str | None) -> str:
    return "never" if moment is None else moment[:10]


def _show(value: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print_json(value)
    else:
        typer.echo(text)
