"""Fetch what a jgo lock file names, checked against its SHA-256s, and write such lock files.

Run by set-up inside the environment: ``python -m infra.setup.maven fetch LOCK FOLDER``.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import requests
import stamina
from jgo.env import LockedDependency, LockFile
from jgo.maven import Dependency, MavenContext

from infra.setup import paths


class ArtifactError(Exception):
    """An artifact differs from its locked SHA-256; nothing was installed."""


def context() -> MavenContext:
    """jgo's client of the public Maven repository, caching in the checkout."""
    return MavenContext(repo_cache=paths.MAVEN_REPOSITORY, local_repos=[], timeout=60)


def write_lock(coordinates: list[str], lock: Path) -> None:
    """Resolve ``coordinates`` (group:artifact:version[:packaging:classifier]) into ``lock``."""
    client = context()
    resolved: dict[tuple[str, str], Dependency] = {}
    for coordinate in coordinates:
        # One at a time, the first wins: together, the BOM of one would change the other's versions.
        for dependency in _closure(client, coordinate):
            resolved.setdefault((dependency.groupId, dependency.artifactId), dependency)
    locked = [LockedDependency.from_dependency(resolved[key]) for key in sorted(resolved)]
    LockFile(locked).save(lock)


def _closure(client: MavenContext, coordinate: str) -> list[Dependency]:
    group, artifact, version, *rest = coordinate.split(":")
    packaging = rest[0] if rest else "jar"
    classifier = rest[1] if len(rest) > 1 else ""
    component = client.project(group, artifact).at_version(version)
    root = Dependency(component.artifact(classifier=classifier, packaging=packaging))
    if packaging != "jar":
        return [root]
    inputs, transitive = client.resolver.resolve([root])
    return [*inputs, *transitive]


def fetch(lock: Path, folder: Path) -> None:
    """Put the artifacts of ``lock`` into ``folder``, replacing it; tar.gz archives are unpacked.

    Raises:
        ArtifactError: if an artifact's SHA-256 is not the locked one.
        requests.RequestException: if the repository cannot be reached, after retries.
    """
    client = context()
    dependencies = LockFile.load(lock).dependencies
    folder.parent.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda item: _download(client, item), dependencies))
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for file in files:
            if file.name.endswith(".tar.gz"):
                with tarfile.open(file) as archive:
                    archive.extractall(scratch, filter="data")
            else:
                os.link(file, scratch / file.name)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@stamina.retry(
    on=(requests.RequestException, RuntimeError, ArtifactError), attempts=4, timeout=300.0
)
def _download(client: MavenContext, item: LockedDependency) -> Path:
    component = client.project(item.groupId, item.artifactId).at_version(item.version)
    artifact = component.artifact(classifier=item.classifier or "", packaging=item.packaging)
    file = artifact.resolve()
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != item.sha256:
        # Also what an interrupted download leaves behind: removed, so that a retry fetches it.
        file.unlink()
        raise ArtifactError(f"{artifact}: SHA-256 is {found}, locked is {item.sha256}")
    return file


if __name__ == "__main__":
    if sys.argv[1] == "fetch":
        fetch(Path(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1] == "lock":
        write_lock(sys.argv[3:], Path(sys.argv[2]))
    else:
        sys.exit(f"unknown verb {sys.argv[1]}: fetch LOCK FOLDER | lock LOCK COORDINATE...")
