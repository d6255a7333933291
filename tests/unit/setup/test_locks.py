"""Lock files: every artifact has a hash, and none names a host."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from infra.setup import locks, paths

PYTHON_LOCKS = ["bootstrap.lock", "requirements.lock", "openai-2.3.lock"]
LOCKS = [*PYTHON_LOCKS, *locks.MAVEN, "versitygw/go.sum", "../../Cargo.lock"]


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_file_names_a_registry(name: str) -> None:
    text = (paths.SETUP / name).read_text()
    # Cargo's own name for its default registry is an identifier, the same behind any mirror.
    text = text.replace("registry+https://github.com/rust-lang/crates.io-index", "")
    assert re.findall(r"(?:https?|git|ssh)://\S+", text) == []


@pytest.mark.parametrize("name", PYTHON_LOCKS)
def test_every_python_package_is_pinned_and_hashed(name: str) -> None:
    text = (paths.SETUP / name).read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert requirements
    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("name", locks.MAVEN)
def test_every_maven_artifact_is_hashed(name: str) -> None:
    dependencies = tomllib.loads((paths.SETUP / name).read_text())["dependencies"]
    assert dependencies
    assert [item for item in dependencies if not re.fullmatch("[0-9a-f]{64}", item["sha256"])] == []


@pytest.mark.parametrize("name", locks.MAVEN)
def test_the_locked_artifacts_hold_the_coordinates_asked_for(name: str) -> None:
    dependencies = tomllib.loads((paths.SETUP / name).read_text())["dependencies"]
    locked = {(item["groupId"], item["artifactId"], item["version"]) for item in dependencies}
    assert {tuple(coordinate.split(":")[:3]) for coordinate in locks.MAVEN[name]} <= locked


def test_versitygw_is_pinned_to_the_version_asked_for() -> None:
    module, version = locks.VERSITYGW.split("@")
    go_mod = Path(paths.SETUP / "versitygw" / "go.mod").read_text()
    assert f"{module.removesuffix('/cmd/versitygw')} {version}" in go_mod
