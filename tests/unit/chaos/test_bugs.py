"""The deliberate bugs: each patch fits the product, and is told from a storm that broke."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from infra.setup import paths
from tests.chaos.bugs.bug import KINDS, Bug, every, found, read
from tests.chaos.plan import Wanted, pack

BUGS = every()


def _set(bug: Bug, name: str) -> frozenset[str]:
    given = dict(zip(bug.provoke[::2], bug.provoke[1::2], strict=True))
    return frozenset(given.get(name, "").split(",")) - {""}


def test_there_are_ten_at_least() -> None:
    assert len(BUGS) >= 10
    assert len({bug.removes for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_patch_fits_and_breaks_no_syntax(bug: Bug, tmp_path: Path) -> None:
    lines = bug.patch.read_text().splitlines()
    names = [line.removeprefix("--- a/") for line in lines if line.startswith("--- a/")]
    assert names
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / name, tmp_path / name)
    git = shutil.which("git")
    assert git is not None
    subprocess.run([git, "apply", str(bug.patch)], cwd=tmp_path, check=True)
    for name in names:
        changed = (tmp_path / name).read_text()
        assert changed != (paths.ROOT / name).read_text()
        compile(changed, name, "exec")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_there_are_faults_that_provoke_it(bug: Bug) -> None:
    wanted = Wanted(_set(bug, "--parts"), _set(bug, "--kinds"), _set(bug, "--points"))
    faults = [fault for fault in pack(2) if wanted(fault)]
    assert faults
    assert {fault.detail for fault in faults if fault.kind == "crash"} == wanted.points


def test_what_a_storm_finds_is_counted_by_kind() -> None:
    assert {"duplicates", "losses", "bad_artifacts", "contradictions", "replay"} <= KINDS
    report = {
        "ok": False,
        "duplicates": ["a", "b"],
        "losses": [],
        "problems": ["the model does not allow this history: fact 7"],
    }
    assert found(report) == {"duplicates": 2, "replay": 1}


def test_a_storm_that_broke_has_found_nothing() -> None:
    assert found({"ok": False, "problems": ["no report, exit status 1"]}) == {}
    assert found({"ok": False, "losses": [], "problems": ["3 faults of 4 hit in the time"]}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "--- a/x\n",
        "# Removes: a\n# Provoke: --parts gpu\n--- a/x\n",
        "# Removes: a\n# Provoke: --parts gpu\n# Expect: nothing\n--- a/x\n",
        "# Removes: a\n# Provoke: --parts gpu\n# Expect: \n--- a/x\n",
    ],
)
def test_a_patch_that_does_not_say_what_it_is_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "01-x.patch"
    path.write_text(text)
    with pytest.raises(ValueError, match="01-x"):
        read(path)
