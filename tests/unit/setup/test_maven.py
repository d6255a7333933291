"""Artifacts come in only with their locked SHA-256."""

from __future__ import annotations

from pathlib import Path

import pytest
from jgo.env import LockedDependency, LockFile

from infra.setup import maven, paths


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local repository, and nobody to download from."""
    monkeypatch.setattr(paths, "MAVEN_REPOSITORY", tmp_path / "repository")
    return tmp_path / "repository"


def place(repository: Path, content: bytes) -> Path:
    """Put an artifact where a download would."""
    file = repository / "org" / "example" / "part" / "1.0" / "part-1.0.jar"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def lock(path: Path, sha256: str) -> Path:
    LockFile([LockedDependency("org.example", "part", "1.0", sha256=sha256)]).save(path)
    return path


#: SHA-256 of b"content".
HASH = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"


def test_an_artifact_with_the_locked_hash_is_installed(repository: Path, tmp_path: Path) -> None:
    place(repository, b"content")
    maven.fetch(lock(tmp_path / "lock.toml", HASH), tmp_path / "libs")
    assert (tmp_path / "libs" / "part-1.0.jar").read_bytes() == b"content"


def test_what_an_older_lock_left_is_replaced(repository: Path, tmp_path: Path) -> None:
    place(repository, b"content")
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "old-0.9.jar").touch()
    maven.fetch(lock(tmp_path / "lock.toml", HASH), tmp_path / "libs")
    assert [path.name for path in (tmp_path / "libs").iterdir()] == ["part-1.0.jar"]


def test_a_tampered_artifact_is_removed_and_nothing_is_installed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place(repository, b"something else")
    client = maven.context()
    client.offline = True
    monkeypatch.setattr(maven, "context", lambda: client)
    with pytest.raises(RuntimeError):
        maven.fetch(lock(tmp_path / "lock.toml", HASH), tmp_path / "libs")
    assert not file.exists()
    assert not (tmp_path / "libs").exists()
