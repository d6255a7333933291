"""Plant bugs in copies of the product, and have a storm catch each.

    python -m tests.chaos.bugs [NAME ...] [--seed N] [--tries N] [--list]

For each patch of this folder: the sources are copied, the patch is applied to the copy, and a small
storm with the faults that provoke the bug runs from there, with the stand-in renderer. It must
fail, and name what is wrong: duplicates, losses, bad artifacts, contradictions. What a storm hits
is the machine's choice, so it is tried with up to three seeds. First the copy without a patch must
come through all the kinds of faults that the others use. Exit status 1 if a bug gets away, or the
product does not come through.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.chaos.bugs import tree
from tests.chaos.bugs.bug import Bug, every, found

_SMALL: Final = ("--size=many", "--jobs=50", "--faults=4", "--gpus=2", "--window=16")
_LARGER: Final = ("--size=many", "--jobs=120", "--faults=16", "--gpus=2", "--window=16")
#: A storm whose jobs are stuck need not be waited for; one without a bug must come through.
_SHORT, _LONG = "--minutes=3", "--minutes=10"


def storm(root: Path, arguments: list[str], log: Path) -> dict[str, Any]:
    """Run a storm from the copy ``root``; its report, or what it said at its end.

    Args:
        root: The copy.
        arguments: Of the storm.
        log: Where what it tells on the way goes.
    """
    env = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    with log.open("w") as told:
        done = subprocess.run(
            command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=told, text=True, check=False
        )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = log.read_text().splitlines()[-3:]
        return {"ok": False, "problems": [f"no report, exit status {done.returncode}", *last]}
    return report


def pack(bugs: list[Bug]) -> list[str]:
    """Arguments for every part, kind and point that the bugs' storms use, in one storm."""
    wanted: dict[str, set[str]] = {"--parts": set(), "--kinds": set(), "--points": set()}
    for bug in bugs:
        for name, value in zip(bug.provoke[::2], bug.provoke[1::2], strict=True):
            wanted[name].update(value.split(","))
    return [f"{name}={','.join(sorted(values))}" for name, values in wanted.items() if values]


def comes_through(bugs: list[Bug], seed: int, folder: Path) -> bool:
    """Whether the product without a bug passes the same faults."""
    root = folder / "whole"
    tree.copy(root)
    began = time.monotonic()
    report = storm(root, [*_LARGER, _LONG, f"--seed={seed}", *pack(bugs)], folder / "whole.log")
    told = "comes through" if report["ok"] else f"FAILS: {found(report)} {report['problems']}"
    say(f"without a bug: {told} ({time.monotonic() - began:.0f} s)")
    return bool(report["ok"])


def caught(bug: Bug, seed: int, tries: int, folder: Path) -> bool:
    """Whether a storm finds what the bug does."""
    root = folder / bug.name
    tree.copy(root)
    tree.apply(bug.patch, root)
    for attempt in range(tries):
        began, seeded = time.monotonic(), f"--seed={seed + attempt}"
        log = folder / f"{bug.name}.{attempt}.log"
        report = storm(root, [*_SMALL, _SHORT, seeded, *bug.provoke], log)
        kinds, took = found(report), time.monotonic() - began
        if bug.expect & kinds.keys():
            shown = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
            say(f"{bug.name}: caught by {shown} ({seeded}, {took:.0f} s)")
            return True
        say(f"{bug.name}: not seen with {seeded} ({took:.0f} s): {kinds} {report['problems']}")
    say(f"{bug.name}: GOT AWAY; without it: {bug.removes}")
    return False


def say(text: str) -> None:
    """Tell how it goes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.bugs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="these alone, by their beginning")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tries", type=int, default=3, help="seeds to try for each bug")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--keep", type=Path, help="folder for the copies and logs, kept")
    args = parser.parse_args()
    bugs = [bug for bug in every() if not args.names or bug.name.startswith(tuple(args.names))]
    if args.list:
        for bug in bugs:
            say(f"{bug.name}: {bug.removes}")
        return 0
    with tempfile.TemporaryDirectory(prefix="bugs-") as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        good = bool(args.names) or comes_through(bugs, args.seed, folder)
        missed = [bug.name for bug in bugs if not caught(bug, args.seed, args.tries, folder)]
    say(f"{len(bugs) - len(missed)} of {len(bugs)} caught")
    return 0 if good and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
