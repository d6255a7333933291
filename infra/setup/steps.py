"""Steps of set-up: run side by side where they can be, and not at all when nothing changed.

A step's stamp is the hash of its inputs; it is written only after the step succeeded, so an
interrupted step runs again. Standard library only: this runs before the environment exists.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO


class StepError(Exception):
    """A step of set-up failed; the message holds the failed command and its whole output."""


@dataclass(frozen=True)
class Step:
    """One unit of set-up.

    Attributes:
        name: short name, also of its stamp.
        title: what it does, for the reader.
        inputs: returns what the outcome depends on: files, or text such as a version.
        outputs: paths that must exist for the step to count as done.
        action: does the work.
        after: names of steps that must have succeeded before; their stamps count as inputs.
    """

    name: str
    title: str
    inputs: Callable[[], Iterable[Path | str]]
    outputs: Sequence[Path]
    action: Callable[[], None]
    after: Sequence[str] = field(default_factory=tuple)


def digest(inputs: Iterable[Path | str], root: Path) -> str:
    """SHA-256 over texts and over the relative names and contents of files, in their order."""
    total = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            name = item.relative_to(root).as_posix() if item.is_relative_to(root) else str(item)
            content = item.read_bytes()
        else:
            name, content = "", item.encode()
        total.update(f"{len(name)}:{name}{len(content)}:".encode())
        total.update(content)
    return total.hexdigest()


def command(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
    """Run ``argv`` quietly.

    Raises:
        StepError: with everything it printed, when it cannot run or its status is not 0.
    """
    try:
        done = subprocess.run(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise StepError(f"{argv[0]}: {error}") from error
    if done.returncode:
        said = done.stdout.rstrip()
        raise StepError(f"$ {' '.join(argv)}\n{said}\nexit status {done.returncode}")


class Runner:
    """Runs steps in threads, each as soon as those it comes after are done."""

    def __init__(
        self,
        steps: Sequence[Step],
        stamps: Path,
        root: Path,
        out: TextIO,
        clock: Callable[[], float],
    ) -> None:
        """``clock`` gives seconds (monotonic) for the elapsed times that are printed to ``out``."""
        self._steps = {step.name: step for step in steps}
        self._stamps = stamps
        self._root = root
        self._out = out
        self._clock = clock
        self._print_lock = threading.Lock()

    def stale(self) -> list[Step]:
        """Steps whose inputs changed, whose outputs are gone, or that come after such a step."""
        found: dict[str, Step] = {}
        for step in self._steps.values():
            if any(name in found for name in step.after) or not self._is_done(step):
                found[step.name] = step
        return list(found.values())

    def run(self) -> None:
        """Do what is stale.

        Raises:
            StepError: naming every step that failed; what did not depend on it is finished first.
        """
        todo = {step.name: step for step in self.stale()}
        failures: list[str] = []
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(len(todo), 1)) as pool:
            running: dict[concurrent.futures.Future[None], Step] = {}
            while todo or running:
                waiting = todo.keys() | {step.name for step in running.values()}
                for step in [s for s in todo.values() if not waiting.intersection(s.after)]:
                    running[pool.submit(self._do, step)] = todo.pop(step.name)
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    step = running.pop(future)
                    error = future.exception()
                    if error is not None:
                        failures.append(f"{step.name}: {error}")
                        todo = {k: s for k, s in todo.items() if step.name not in s.after}
        if failures:
            raise StepError("\n\n".join(failures))

    def _do(self, step: Step) -> None:
        start = self._clock()
        self._say(f"  ...  {step.name:<13} {step.title}")
        stamp = self._stamps / step.name
        stamp.unlink(missing_ok=True)
        try:
            step.action()
        except Exception:
            self._say(f" FAIL  {step.name:<13} after {self._clock() - start:.1f} s")
            raise
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(self._digest(step))
        self._say(f"  ok   {step.name:<13} {self._clock() - start:.1f} s")

    def _digest(self, step: Step) -> str:
        before = [self._stamp(name) for name in step.after]
        return digest([*step.inputs(), *before], self._root)

    def _stamp(self, name: str) -> str:
        stamp = self._stamps / name
        return stamp.read_text() if stamp.exists() else ""

    def _is_done(self, step: Step) -> bool:
        return all(path.exists() for path in step.outputs) and (
            self._stamp(step.name) == self._digest(step)
        )

    def _say(self, line: str) -> None:
        with self._print_lock:
            print(line, file=self._out, flush=True)
