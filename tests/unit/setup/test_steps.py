"""Steps of set-up: skipped when up to date, side by side when they can be, loud when they fail."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from infra.setup.steps import Runner, Step, StepError, command, digest


def make(
    folder: Path, name: str, action: Callable[[], None] | None = None, after: Sequence[str] = ()
) -> Step:
    """A step that makes one file from one other."""
    source, output = folder / f"{name}.in", folder / f"{name}.out"
    if not source.exists():
        source.write_text("1")

    def copy() -> None:
        output.write_text(source.read_text())

    return Step(name, f"make {name}", lambda: [source], [output], action or copy, after)


def runner(folder: Path, *steps: Step) -> tuple[Runner, io.StringIO]:
    out = io.StringIO()
    return Runner(steps, folder / "stamps", folder, out, time.monotonic), out


def stale(of: Runner) -> list[str]:
    return [step.name for step in of.stale()]


def test_a_second_run_has_nothing_to_do(tmp_path: Path) -> None:
    run, _ = runner(tmp_path, make(tmp_path, "a"), make(tmp_path, "b", after=["a"]))
    assert stale(run) == ["a", "b"]
    run.run()
    assert stale(run) == []


def test_a_changed_input_makes_the_step_and_those_after_it_stale(tmp_path: Path) -> None:
    run, _ = runner(
        tmp_path, make(tmp_path, "a"), make(tmp_path, "b", after=["a"]), make(tmp_path, "c")
    )
    run.run()
    (tmp_path / "a.in").write_text("2")
    assert stale(run) == ["a", "b"]
    run.run()
    assert (tmp_path / "a.out").read_text() == "2"
    assert stale(run) == []


def test_a_lost_output_makes_the_step_stale(tmp_path: Path) -> None:
    run, _ = runner(tmp_path, make(tmp_path, "a"))
    run.run()
    (tmp_path / "a.out").unlink()
    assert stale(run) == ["a"]


def test_a_step_that_failed_is_stale_and_what_needs_it_is_not_run(tmp_path: Path) -> None:
    def fail() -> None:
        raise StepError("no route to host")

    run, out = runner(
        tmp_path, make(tmp_path, "a", fail), make(tmp_path, "b", after=["a"]), make(tmp_path, "c")
    )
    with pytest.raises(StepError, match="a: no route to host"):
        run.run()
    assert stale(run) == ["a", "b"]
    assert not (tmp_path / "b.out").exists()
    assert " FAIL  a" in out.getvalue()


def test_independent_steps_run_side_by_side(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=10)

    def meet(name: str) -> Callable[[], None]:
        def action() -> None:
            together.wait()
            (tmp_path / f"{name}.out").touch()

        return action

    run, _ = runner(tmp_path, *(make(tmp_path, name, meet(name)) for name in "abc"))
    run.run()
    assert stale(run) == []


def test_each_step_says_one_line_when_it_starts_and_one_when_it_ends(tmp_path: Path) -> None:
    run, out = runner(tmp_path, make(tmp_path, "a"))
    run.run()
    first, second = out.getvalue().splitlines()
    assert first.split() == ["...", "a", "make", "a"]
    assert second.split()[:2] == ["ok", "a"]


def test_a_failed_command_shows_all_that_it_printed(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        command(["sh", "-c", "echo to-out; echo to-err >&2; exit 3"], {"PATH": "/bin"}, tmp_path)
    assert "to-out" in str(caught.value)
    assert "to-err" in str(caught.value)
    assert "exit status 3" in str(caught.value)


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no-such-tool"):
        command(["/no-such-tool"], {}, tmp_path)


def test_the_digest_tells_apart_where_one_input_ends_and_the_next_begins(tmp_path: Path) -> None:
    assert digest(["ab", "c"], tmp_path) != digest(["a", "bc"], tmp_path)


def test_the_digest_does_not_depend_on_where_the_checkout_is(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").write_text("same")
    one, two = (digest([tmp_path / n / "lock"], tmp_path / n) for n in ("one", "two"))
    assert one == two
