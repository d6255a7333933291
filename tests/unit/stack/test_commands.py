"""The ``ttv`` commands of the local stack, where no stack runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ingest.cli import app


def ttv(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("command", ["up", "down", "status", "env", "doctor", "config"])
def test_every_command_shows_examples_in_its_help(command: str) -> None:
    result = ttv(command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.output


@pytest.mark.parametrize("command", ["down", "status"])
def test_without_a_stack_it_says_so_with_status_3(command: str, tmp_path: Path) -> None:
    result = ttv(command, "--data", str(tmp_path))
    assert result.exit_code == 3
    assert f"no stack is running in {tmp_path}" in result.output


def test_status_without_a_stack_is_json_when_asked(tmp_path: Path) -> None:
    result = ttv("status", "--json", "--data", str(tmp_path))
    assert json.loads(result.output) == {"running": False, "data": str(tmp_path)}


def test_doctor_names_what_is_down_and_the_setting_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "TTV_KAFKA": "127.0.0.1:1",
        "TTV_REGISTRY": "http://127.0.0.1:1",
        "TTV_S3_ENDPOINT": "http://127.0.0.1:1",
        "TTV_POSTGRES": "postgresql://ttv@127.0.0.1:1/ttv",
        "TTV_HTTP_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    result = ttv("doctor", "--json", "--data", str(tmp_path))
    assert result.exit_code == 1
    findings = {finding["name"]: finding for finding in json.loads(result.output)}
    assert findings.keys() == {"kafka", "registry", "s3", "postgres", "api"}
    assert not any(finding["ok"] for finding in findings.values())
    assert all(finding["problem"] for finding in findings.values())
    assert "TTV_KAFKA" in findings["kafka"]["remedy"]


def test_config_masks_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTV_S3_SECRET_KEY", "do-not-show")
    monkeypatch.setenv("TTV_TENANT_RATE", "12.5")
    for arguments in (["config"], ["config", "--json"]):
        result = ttv(*arguments)
        assert result.exit_code == 0
        assert "do-not-show" not in result.output
    assert json.loads(ttv("config", "--json").output)["TTV_TENANT_RATE"] == 12.5


def test_config_names_each_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTV_TENANT_RATE", "fast")
    result = ttv("config")
    assert result.exit_code == 1
    assert "tenant_rate" in result.output.lower()


def test_up_knows_infra_alone(tmp_path: Path) -> None:
    result = ttv("up", "--only", "gpus", "--data", str(tmp_path))
    assert result.exit_code == 1
    assert "infra" in result.output
