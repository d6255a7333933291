"""``ttv submit``, ``list``, ``watch``, ``download`` and ``cancel``.

They speak to the HTTP API alone. The API's client is imported when a command runs, so that help
answers at once.
"""

# A command's options are its parameters, its flags are booleans, and it speaks on a terminal.

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from infra.stack.layout import DEFAULT_DATA
from infra.terminal import fail, print_json
from ingest.session import connected as _client
from ingest.session import plain as _plain

if TYPE_CHECKING:
    from ingest.client import Client

Data = Annotated[
    Path, typer.Option("--data", envvar="TTV_DATA", help="Folder of the stack.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]

_TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
_POLL: Final = 0.5
_out = Console(soft_wrap=True, highlight=False)
_err = Console(stderr=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the commands of the API's users to ``app``."""
    app.command("submit")(submit)
    app.command("list")(list_jobs)
    app.command("watch")(watch)
    app.command("download")(download)
    app.command("cancel")(cancel)


def submit(  # noqa: PLR0913 an option for each field of a job
    prompt: Annotated[str, typer.Argument(help="What to render.")],
    negative_prompt: Annotated[str | None, typer.Option(help="What to avoid.")] = None,
    width: Annotated[int | None, typer.Option(help="Multiple of 16, 32 to 1360.")] = None,
    height: Annotated[int | None, typer.Option(help="Multiple of 16, 32 to 768.")] = None,
    num_frames: Annotated[
        int | None, typer.Option("--frames", help="6k+1, at most 301; 30 a second.")
    ] = None,
    num_inference_steps: Annotated[
        int | None, typer.Option("--steps", help="Denoising steps, 2 to 256.")
    ] = None,
    guidance_scale: Annotated[float | None, typer.Option("--guidance", help="0 to 30.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same video.")] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low.")] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Told when the job ends.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key again is the same job.")
    ] = None,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Wait until it has ended.")] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Submit a job and print its id.

    Examples:

        ttv submit "a red fox in the snow"

        ttv submit "waves at dusk" --width 480 --height 480 --frames 31 --steps 32 --watch
    """
    fields = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "width": width,
        "height": height,
        "num_frames": num_frames,
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "seed": seed,
        "priority": priority,
        "webhook_url": webhook_url,
    }
    body = {name: value for name, value in fields.items() if value is not None}
    with _client(data, as_json) as client:
        job = client.submit(body, idempotency_key)
        if follow:
            if not as_json:
                _out.print(job["id"])
            _end(_followed(client, job["id"], as_json), as_json)
        _show(job, as_json, job["id"])


def list_jobs(
    status: Annotated[
        str | None, typer.Option(help="pending, processing, completed, failed or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Goes on where a page ended.")] = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List jobs, newest first.

    Examples:

        ttv list --status completed

        ttv list --limit 100 --json
    """
    asked = {"status": status, "limit": limit, "cursor": cursor}
    params = {name: value for name, value in asked.items() if value is not None}
    with _client(data, as_json) as client:
        page = client.call("GET", "/v1/jobs", params=params)
    if as_json:
        print_json(page)
        return
    table = Table(_id_column(), "status", "size", "created", "prompt", box=None, pad_edge=False)
    for job in page["data"]:
        size = f"{job['width']}x{job['height']}x{job['num_frames']}"
        text = " ".join((job["prompt"] or "").split())[:60]
        table.add_row(job["id"], job["status"], size, job["created_at"], _plain(text))
    _out.print(table)
    if page["next_cursor"]:
        _out.print(f"more: ttv list --cursor {page['next_cursor']}")


def watch(job_id: JobId, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Watch a job until it has ended; the exit status is 0 only when it completed.

    Examples:

        ttv watch 0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11
    """
    with _client(data, as_json) as client:
        _end(_followed(client, job_id, as_json), as_json)


def download(
    job_id: JobId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: ID.mp4.")
    ] = None,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Save a finished job's video.

    Examples:

        ttv download 0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11 -o fox.mp4
    """
    path = output or Path(f"{job_id}.mp4")
    with _client(data, as_json) as client, _bar("downloading", as_json) as bar:
        task = bar.add_task("downloading", total=None)
        try:
            for done, total in client.download(job_id, path):
                bar.update(task, completed=done, total=total)
        except OSError as error:
            fail(f"{path}: {error.strerror}", as_json)
    _show({"id": job_id, "path": str(path), "size": path.stat().st_size}, as_json, str(path))


def cancel(job_id: JobId, data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Cancel a job: a running render stops within a step.

    Examples:

        ttv cancel 0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11
    """
    with _client(data, as_json) as client:
        job = client.call("POST", f"/v1/jobs/{job_id}/cancel")
    _show(job, as_json, f"{job_id} will be cancelled")


def _followed(client: Client, job_id: str, as_json: bool) -> dict[str, Any]:
    """Wait until the job has ended, with a bar on a terminal."""
    with _bar("waiting", as_json) as bar:
        task = bar.add_task("waiting", total=None)
        while True:
            job = client.job(job_id)
            at = job["progress"] or {}
            bar.update(
                task,
                description=at.get("phase") or job["phase"].lower(),
                completed=at.get("step", 0),
                total=at.get("total") or None,
            )
            if job["status"] in _TERMINAL:
                return job
            time.sleep(_POLL)


def _end(job: dict[str, Any], as_json: bool) -> NoReturn:
    completed = job["status"] == "completed"
    reason = job["reason"] or {}
    why = f": {reason.get('message')}" if reason else ""
    line = f"completed: ttv download {job['id']}" if completed else f"{job['status']}{why}"
    _show(job, as_json, line)
    raise typer.Exit(0 if completed else 1)


@contextmanager
def _bar(title: str, as_json: bool) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    quiet = as_json or not _err.is_terminal
    with Progress(*columns, console=_err, transient=True, disable=quiet) as bar:
        if quiet and not as_json:
            _err.print(f"{title} ...")
        yield bar


def _id_column() -> Column:
    return Column("id", min_width=36, no_wrap=True)


def _show(value: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print_json(value)
    else:
        _out.print(text, markup=False)
