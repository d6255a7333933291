"""A copy of the product that may be broken: its sources here, what set-up made where it was."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from infra.setup import paths

_GIT: Final = shutil.which("git") or "git"
#: Patches are of Python, and a copy must not build: it has no model, and replays nothing.
_LEFT_OUT: Final = "rust_guard/model/"
#: What set-up made: linked, as a storm changes nothing of it.
_LINKED: Final = (".venv", ".cache")
_BUILT: Final = ("rust_guard/_rust.abi3.so",)


def copy(into: Path) -> None:
    """Copy every source, committed or not, and the built library, into the empty folder."""
    listed = subprocess.run(
        [_GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=paths.ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    names = [name for name in names if not name.startswith(_LEFT_OUT)]
    for name in (*names, *_BUILT):
        source, target = paths.ROOT / name, into / name
        if source.is_file():  # one that has been deleted is still listed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    for name in _LINKED:
        (into / name).symlink_to(paths.ROOT / name)


def apply(patch: Path, tree: Path) -> None:
    """Apply a patch to a copy.

    Raises:
        subprocess.CalledProcessError: it does not fit.
    """
    subprocess.run([_GIT, "apply", str(patch.resolve())], cwd=tree, check=True)
