"""``ttv verify``: fetch a job's video and manifest, and have the video rendered again here.

The renderer is another part of the product and runs as a program of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from infra.stack.layout import DEFAULT_DATA
from infra.terminal import fail, print_json

if TYPE_CHECKING:
    from ingest.client import Client

_INCOMPARABLE: Final = 2


def register(app: typer.Typer) -> None:
    """Add ``verify`` to ``app``."""
    app.command("verify")(verify)


def verify(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    data: Annotated[
        Path,
        typer.Option("--data", envvar="TTV_DATA", help="Folder of the stack.", show_default=True),
    ] = DEFAULT_DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Render a finished job's video again on this machine and compare it, byte for byte.

    Equal bytes are promised on the same kind of hardware and software; what differs of it is
    named. Exit status 0: equal; 1: different; 2: they cannot be compared, and what to do.

    Examples:

        ttv verify 0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11

        TTV_DEVICE=cuda:1 ttv verify 0b0f6c1e-7f7e-4d51-9c1c-3b0e6a0f7f11
    """
    from ingest.client import ApiError, Client

    with tempfile.TemporaryDirectory(prefix="ttv-verify-") as folder:
        manifest, video = Path(folder) / "manifest.json", Path(folder) / "video.mp4"
        try:
            with Client.of_stack(data) as client:
                announced = _fetched(client, job_id, manifest, video, as_json)
        except ApiError as error:
            fail(str(error), as_json, _INCOMPARABLE)
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}", as_json, _INCOMPARABLE)
        if not as_json:
            sys.stderr.write("rendering it again ...\n")
        arguments = [str(manifest), str(video), "--sha256", announced, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "gpu_consumer.verify", *arguments],
            stdout=subprocess.PIPE,
            env=_environment(data),
            check=False,
        )
    _told(job_id, done, as_json)


def _fetched(client: Client, job_id: str, manifest: Path, video: Path, as_json: bool) -> str:
    """Fetch both files; the SHA-256 of the video that the job's terminal event named."""
    job = client.job(job_id)
    if job["artifact"] is None:
        fail(f"the job is {job['status']}: only a finished video can be verified", as_json, 2)
    manifest.write_bytes(client.manifest(job_id))
    for _ in client.download(job_id, video):
        pass
    return str(job["artifact"]["sha256"])


def _environment(data: Path) -> dict[str, str]:
    """The renderer's: a local stack's model folder, unless another is named."""
    from infra.stack import info, services
    from infra.stack.layout import Layout

    env = dict(os.environ)
    try:
        known = services.environment(info.read(Layout.of(data).info))
    except (OSError, ValueError, KeyError, TypeError):
        return env
    env.setdefault("TTV_MODEL_DIR", known["TTV_MODEL_DIR"])
    return env


def _told(job_id: str, done: subprocess.CompletedProcess[bytes], as_json: bool) -> NoReturn:
    try:
        verdict: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        fail("no renderer answered: install this product with its GPU part here", as_json, 2)
    if as_json:
        print_json({"id": job_id, **verdict})
        raise typer.Exit(done.returncode)
    if "error" in verdict:
        fail(f"cannot compare: {verdict['error']}", as_json, _INCOMPARABLE)
    word = "equal" if verdict["equal"] else "DIFFERENT"
    lines = [f"{word}: {verdict['detail']}"]
    lines += [
        f"  {one['name']}: {one['then']} then, {one['now']} here" for one in verdict["differences"]
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    raise typer.Exit(done.returncode)
