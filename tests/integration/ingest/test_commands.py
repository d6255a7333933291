from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from typer.testing import CliRunner

from infra.provision import object_store
from ingest import key_commands, webhook_commands
from ingest.commands import register
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.support.wait import until
from tests.unit.ingest.events import artifact, happened, job

pytestmark = pytest.mark.stack


class Ttv:
    """The command line against an edge."""

    def __init__(self, data: Path) -> None:
        self.app = typer.Typer()
        register(self.app)
        key_commands.register(self.app)
        webhook_commands.register(self.app)
        self.data = str(data)

    def run(self, *arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(self.app, arguments, env={"TTV_DATA": self.data})
        assert done.exit_code == status, done.output
        return str(done.output)

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", status=status))


@pytest.fixture
def ttv(edge: EdgeStack, tmp_path: Path) -> Ttv:
    info = {"http": f"http://127.0.0.1:{edge.port}", "api_key": edge.key}
    (tmp_path / "stack.json").write_text(json.dumps(info))
    return Ttv(tmp_path)


def test_submit_list_watch_and_download(
    edge: EdgeStack, log: Log, ttv: Ttv, tmp_path: Path
) -> None:
    made = ttv.json("submit", "a [red] fox", "--frames", "7", "--seed", "3")
    assert (made["num_frames"], made["seed"]) == (7, 3)
    assert made["id"] in ttv.run("list", "--status", "pending")
    video = b"mp4" * 1000
    key = f"videos/{made['id']}.mp4"
    bucket = edge.settings.s3_bucket
    object_store(edge.settings).put_object(bucket, key, io.BytesIO(video), len(video))
    sealed = artifact(key, len(video), bucket).model_copy(
        update={"sha256": hashlib.sha256(video).hexdigest()}
    )
    early = ttv.run("download", made["id"], status=1)
    assert "no video" in early
    log.write(
        happened(job(job_id=made["id"]), "Admitted", "Started", "Completed", artifact_=sealed)
    )
    assert ttv.json("watch", made["id"])["status"] == "completed"
    out = tmp_path / "fox.mp4"
    assert ttv.json("download", made["id"], "-o", str(out))["size"] == len(video)
    assert out.read_bytes() == video
    assert list(tmp_path.glob("*.part")) == []


def test_a_failed_job_gives_status_1_and_its_reason(log: Log, ttv: Ttv, api: httpx2.Client) -> None:
    of = job()
    log.write(happened(of, "Admitted", "Failed"))
    until(lambda: api.get(f"/v1/jobs/{of.job_id}").status_code == 200, 20)
    assert ttv.json("watch", of.job_id, status=1)["reason"]["code"] == "bad_output"


def test_cancel_and_webhooks(ttv: Ttv) -> None:
    job_id = ttv.run("submit", "x").strip()
    assert ttv.json("cancel", job_id)["cancel_requested_at"] is not None
    made = ttv.json("webhooks", "add", "http://127.0.0.1:1024/h", "--event", "Failed")
    assert made["secret"].startswith("whsec_")
    assert made["id"] in ttv.run("webhooks", "list")
    assert ttv.json("webhooks", "rotate", made["id"])["secret"] != made["secret"]
    assert ttv.json("webhooks", "update", made["id"], "--disable")["enabled"] is False
    [listed] = [e for e in ttv.json("webhooks", "list")["data"] if e["id"] == made["id"]]
    assert listed["disabled_reason"] == "disabled by its owner"
    refused = ttv.json("webhooks", "replay", made["id"], "--since", "2026-03-01", status=1)
    assert refused["problem"]["code"] == "webhook_disabled"
    assert ttv.json("webhooks", "update", made["id"], "--enable", "--format", "openai")["enabled"]
    sent = ttv.json("webhooks", "test", made["id"])["id"]
    assert sent in ttv.run("webhooks", "deliveries", made["id"])
    again = ttv.json("webhooks", "replay", made["id"], "--delivery", sent)
    assert again["id"] == sent
    since = ttv.json("webhooks", "replay", made["id"], "--since", "2026-03-01", "--only-failed")
    assert since["replayed"] == 0
    assert "give either" in ttv.run("webhooks", "replay", made["id"], status=1)
    assert "nothing to change" in ttv.run("webhooks", "update", made["id"], status=1)
    assert ttv.json("webhooks", "remove", made["id"])["removed"] is True
    assert made["id"] not in ttv.run("webhooks", "list")


def test_mistakes_are_one_clear_message(ttv: Ttv, tmp_path: Path) -> None:
    wrong = ttv.json("submit", "x", "--width", "63", status=1)
    assert wrong["problem"]["code"] == "invalid_request"
    assert "width" in wrong["error"]
    missing = Ttv(tmp_path / "nowhere").run("list", status=1)
    assert "ttv up" in missing
    (tmp_path / "stack.json").write_text('{"http": "http://127.0.0.1:1", "api_key": "k"}')
    assert "does not answer" in ttv.run("list", status=1)


def test_keys_are_made_listed_rotated_and_revoked(edge: EdgeStack, ttv: Ttv) -> None:
    made = ttv.json("keys", "create", "cli", "--name", "[red]", "--scope", "jobs:read")
    assert (made["tenant_id"], made["role"], made["scopes"]) == ("cli", "creator", ["jobs:read"])
    secret = ttv.run("keys", "rotate", made["id"], "--overlap", "0").strip()
    with edge.client(secret) as rotated, edge.client(made["key"]) as old:
        assert rotated.get("/v1/jobs").status_code == 200
        assert old.get("/v1/jobs").status_code == 401
        assert ttv.json("keys", "revoke", made["id"])["revoked_at"] is not None
        assert rotated.get("/v1/jobs").status_code == 401
    listed = ttv.run("keys", "list", "--tenant", "cli")
    assert made["id"] in listed
    assert "[red]" in listed
    assert "revoked" in listed
    assert "Invalid request" in ttv.run("keys", "create", "cli", "--role", "root", status=1)
