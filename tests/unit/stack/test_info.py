"""``stack.json`` as clients read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack import identity, info, services
from infra.stack.layout import Layout


@pytest.fixture
def described(tmp_path: Path) -> info.StackInfo:
    known = identity.load_or_create(tmp_path / "identity.json", services.port_names(2))
    return services.describe(Layout.of(tmp_path), known, gpus=2)


def test_it_has_every_key_that_clients_rely_on(described: info.StackInfo, tmp_path: Path) -> None:
    info.write(tmp_path / "stack.json", described)
    raw = json.loads((tmp_path / "stack.json").read_text())
    assert raw.keys() >= {
        *("http", "ui", "kafka", "registry", "s3", "postgres"),
        *("api_key", "metrics", "processes"),
    }
    assert raw["s3"].keys() == {"endpoint", "bucket", "access_key", "secret_key"}


def test_it_reads_back_as_written(described: info.StackInfo, tmp_path: Path) -> None:
    running = info.with_processes(described, [info.Process("gpu-0", 12, "/log", "RUNNING")])
    info.write(tmp_path / "stack.json", running)
    assert info.read(tmp_path / "stack.json") == running
    assert running.process("gpu-0").pid == 12


def test_it_holds_secrets_so_only_its_owner_reads_it(
    described: info.StackInfo, tmp_path: Path
) -> None:
    info.write(tmp_path / "stack.json", described)
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600


def test_keys_of_a_later_version_are_passed_over(described: info.StackInfo, tmp_path: Path) -> None:
    info.write(tmp_path / "stack.json", described)
    raw = json.loads((tmp_path / "stack.json").read_text())
    (tmp_path / "stack.json").write_text(json.dumps(raw | {"shared_cache": "127.0.0.1:1"}))
    assert info.read(tmp_path / "stack.json") == described


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{}")
    with pytest.raises(ValueError, match="not a stack"):
        info.read(tmp_path / "stack.json")


def test_an_unknown_process_is_named_with_those_there_are(described: info.StackInfo) -> None:
    with pytest.raises(KeyError, match="gpu-9"):
        described.process("gpu-9")


def test_every_setting_of_the_stack_is_one_that_the_service_knows(
    described: info.StackInfo,
) -> None:
    known = {f"TTV_{name.upper()}" for name in Settings.model_fields}
    assert services.environment(described).keys() <= known


def test_every_process_gets_its_own_metrics_port_and_folder(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path)
    layout.create()
    known = identity.load_or_create(layout.identity, services.port_names(3))
    described = services.describe(layout, known, gpus=3)
    made = services.programs(layout, known, described, gpus=3, extra={"TTV_TENANT_RATE": "7"})
    assert [program.name for program in made] == services.names(3)
    for key in ("TTV_METRICS_PORT", "TTV_WORK_DIR"):
        assert len({program.env[key] for program in made}) == len(made)
    assert [p.env["TTV_SLOT"] for p in made if p.group == "gpus"] == ["0", "1", "2"]
    assert {program.env["TTV_TENANT_RATE"] for program in made} == {"7"}
    assert [url.split(":")[2].split("/")[0] for url in described.metrics] == [
        program.env["TTV_METRICS_PORT"] for program in made
    ]


def test_the_shells_settings_reach_the_service_but_not_over_the_stacks_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTV_TENANT_RATE", "3")
    monkeypatch.setenv("TTV_KAFKA", "elsewhere:9092")
    layout = Layout.of(tmp_path)
    layout.create()
    known = identity.load_or_create(layout.identity, services.port_names(1))
    described = services.describe(layout, known, gpus=1)
    env = services.programs(layout, known, described, gpus=1, extra={})[0].env
    assert env["TTV_TENANT_RATE"] == "3"
    assert env["TTV_KAFKA"] == described.kafka
