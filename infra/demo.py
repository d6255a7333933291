"""``make demo``: the whole service on this machine, two jobs, two videos, two webhooks.

One job goes over HTTP, one straight to Kafka from schemas/examples/produce_job.py. Everything is
the real thing but the model's weights: a tiny, randomly initialised Mochi-1.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import av
from rich.console import Console
from standardwebhooks import Webhook

from infra.setup.paths import ROOT
from infra.stack import Stack
from infra.stack.info import StackInfo

_DATA: Final = ROOT / "var" / "demo"
_EXAMPLE: Final = ROOT / "schemas" / "examples" / "produce_job.py"
_SIZE: Final = {"width": 160, "height": 96, "num_frames": 31, "num_inference_steps": 16}
_DEADLINE: Final = 180.0
_MAX_BODY: Final = 1024 * 1024
_out: Final = Console(highlight=False, soft_wrap=True)


class DemoError(Exception):
    """The demo did not end as it must."""


class Receiver(ThreadingHTTPServer):
    """A webhook receiver that keeps only deliveries whose signature it has verified."""

    daemon_threads = True

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.verified: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Delivery)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where to deliver to."""
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Delivery(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), _MAX_BODY))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            event = Webhook(self.server.secret).verify(body, headers)
        except Exception:  # noqa: BLE001 whatever is wrong with it, it is refused
            self.send_response(400)
        else:
            self.server.verified.put((headers["webhook-id"], event))
            self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class's name
        """Say nothing."""


class Api:
    """The few calls that the demo makes."""

    def __init__(self, info: StackInfo) -> None:
        self._base = info.http
        self._headers = {"authorization": f"Bearer {info.api_key}"}

    def get(self, path: str) -> Any:
        """JSON of a GET."""
        return json.loads(self.raw(path))

    def raw(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """Bytes of a GET, or of a POST of ``body``."""
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"content-type": "application/json"} if data else {})
        request = urllib.request.Request(self._base + path, data, headers)  # noqa: S310 loopback
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 as above
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise DemoError(f"{path}: {error.code} {error.read()[:500]!r}") from error


def _submit(api: Api, hook: str) -> str:
    body = {"prompt": "a fox runs through fresh snow at dawn", "webhook_url": hook, **_SIZE}
    answer = json.loads(api.raw("/v1/jobs", body))
    return str(answer["id"])


def _produce(info: StackInfo, hook: str) -> str:
    fields = [f"{name}={value}" for name, value in _SIZE.items()] + [f"webhook_url={hook}"]
    prompt = "a paper boat on a river of lights"
    command = [sys.executable, str(_EXAMPLE), info.kafka, info.registry, info.tenant, prompt]
    done = subprocess.run(
        [*command, *fields], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise DemoError(f"the Kafka example failed:\n{done.stderr}")
    return done.stdout.strip()


def _await_completion(api: Api, job_ids: dict[str, str]) -> None:
    shown: dict[str, str] = {}
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline:
        for name, job_id in job_ids.items():
            try:
                job = api.get(f"/v1/jobs/{job_id}")
            except DemoError:
                continue  # straight from Kafka: not in the read model before it is admitted
            line = job["status"]
            if shown.get(name) != line:
                shown[name] = line
                _out.print(f"  {name:5} {job_id}  {line}")
            if line in {"failed", "cancelled"}:
                raise DemoError(f"{name} job {job_id} {line}: {job['reason']}")
        if all(shown.get(name) == "completed" for name in job_ids):
            return
        time.sleep(0.1)
    raise DemoError(f"not completed in {_DEADLINE:.0f} s: {shown}")


def _save(api: Api, name: str, job_id: str) -> Path:
    path = _DATA / "videos" / f"{name}-{job_id}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(api.raw(f"/v1/jobs/{job_id}/video?delivery=stream"))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        found = (stream.codec_context.name, stream.width, stream.height, frames)
    wanted = ("h264", _SIZE["width"], _SIZE["height"], _SIZE["num_frames"])
    if found != wanted:
        raise DemoError(f"{path} is {found}, not {wanted}")
    _out.print(f"[bold]{path}[/]  {found[0]} {found[1]}x{found[2]}, {frames} frames")
    return path


def _show_timeline(api: Api, name: str, job_id: str) -> None:
    _out.print(f"timeline of the {name} job {job_id}")
    timeline = api.get(f"/v1/jobs/{job_id}/timeline")
    for entry in timeline["data"]:
        _out.print(f"  {entry['occurred_at']}  {entry['kind']}")


def _await_webhooks(receiver: Receiver, job_ids: dict[str, str]) -> None:
    missing = set(job_ids.values())
    deadline = time.monotonic() + 60
    while missing:
        try:
            webhook_id, event = receiver.verified.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise DemoError(f"no verified webhook for {sorted(missing)}") from None
        missing.discard(event["data"]["id"])
        _out.print(f"webhook verified: {webhook_id} {event['type']} {event['data']['id']}")


def run() -> None:
    """Run the demo.

    Raises:
        DemoError: something did not end as it must.
    """
    began = time.monotonic()
    _out.print("starting the stack ...")
    with Stack.start(
        _DATA, gpus=2, progress=lambda stage: _out.print(f"  {stage}", style="dim")
    ) as stack:
        info = stack.info
        _out.print(f"ready after {time.monotonic() - began:.1f} s: {info.http}")
        receiver = Receiver(info.webhook_secret)
        api = Api(info)
        jobs = {"http": _submit(api, receiver.url), "kafka": _produce(info, receiver.url)}
        _out.print(f"first job after {time.monotonic() - began:.1f} s")
        _await_completion(api, jobs)
        for name, job_id in jobs.items():
            _show_timeline(api, name, job_id)
        _await_webhooks(receiver, jobs)
        for name, job_id in jobs.items():
            _save(api, name, job_id)
        receiver.shutdown()
    _out.print(f"done in {time.monotonic() - began:.1f} s; everything is stopped")


def main() -> int:
    """Run the demo; 1 and one line when it fails."""
    os.chdir(ROOT)
    try:
        run()
    except Exception as error:  # noqa: BLE001 a demo ends with a sentence, not with a traceback
        _out.print(f"[red]demo failed:[/] {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
