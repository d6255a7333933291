"""What is missing is one clear line, before any work; nothing is written to the home folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.setup import preflight, toolchain

OLDEST = "{}.{}".format(*preflight.oldest_rust())


def tool(folder: Path, name: str, body: str) -> None:
    """An executable of that name in ``folder``."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tools that is all of PATH, on an account with an empty home; nothing lacks."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setattr(toolchain, "account_home", lambda: tmp_path / "home")
    (tmp_path / "home").mkdir()
    tool(tools, "cargo", "echo cargo 1.99.0")
    tool(tools, "rustc", "echo rustc 1.99.0")
    compiler = shutil.which("cc")
    assert compiler is not None
    tool(tools, "cc", f'PATH=/usr/bin:/bin exec {compiler} "$@"')
    return tools


def missing(tools: Path) -> list[str]:
    return preflight.missing(toolchain.cargo_env({"PATH": str(tools)}))


def test_a_ready_machine_lacks_nothing(machine: Path) -> None:
    assert missing(machine) == []


def test_no_cargo(machine: Path) -> None:
    (machine / "cargo").unlink()
    (line,) = missing(machine)
    assert line.startswith("cargo is not on PATH")
    assert "rustup" in line


def test_an_old_compiler(machine: Path) -> None:
    tool(machine, "rustc", "echo rustc 1.60.0")
    (line,) = missing(machine)
    assert "rustc 1.60.0 is too old" in line
    assert f"Rust {OLDEST} or newer" in line


def test_a_compiler_that_does_not_run_says_why(machine: Path) -> None:
    tool(machine, "rustc", "echo rustup could not choose a version >&2; exit 1")
    (line,) = missing(machine)
    assert "rustup could not choose a version" in line


def test_no_linker_names_the_package(machine: Path) -> None:
    (machine / "cc").unlink()
    (line,) = missing(machine)
    assert "build-essential" in line


def test_a_linker_without_headers_names_the_package_and_the_reason(machine: Path) -> None:
    tool(machine, "cc", "echo stdio.h: No such file or directory >&2; exit 1")
    (line,) = missing(machine)
    assert "stdio.h: No such file or directory" in line
    assert "build-essential" in line


def test_everything_missing_is_said_at_once(machine: Path) -> None:
    for name in ("cargo", "rustc", "cc"):
        (machine / name).unlink()
    assert len(missing(machine)) == 2


def test_a_rustup_proxy_with_an_empty_home_finds_the_accounts_toolchains(
    machine: Path, tmp_path: Path
) -> None:
    for name in ("cargo", "rustc"):
        tool(machine, name, f'[ -n "$RUSTUP_HOME" ] && echo {name} 1.99.0 && exit; exit 1')
    assert missing(machine) != []
    (tmp_path / "home" / ".rustup" / "toolchains").mkdir(parents=True)
    assert missing(machine) == []


def test_a_cargo_only_below_the_accounts_home_is_found(machine: Path, tmp_path: Path) -> None:
    own = tmp_path / "home" / ".cargo" / "bin"
    own.mkdir(parents=True)
    for name in ("cargo", "rustc"):
        (machine / name).rename(own / name)
    assert missing(machine) == []


def test_toolchains_of_the_users_own_home_are_left_to_rustup(tmp_path: Path) -> None:
    (tmp_path / ".rustup" / "toolchains").mkdir(parents=True)
    env = toolchain.cargo_env({"PATH": "/bin", "HOME": str(tmp_path)})
    assert "RUSTUP_HOME" not in env


def test_go_reads_the_users_settings_and_writes_none(tmp_path: Path) -> None:
    env = toolchain.go_env({"PATH": "/bin", "HOME": str(tmp_path)})
    assert env["GOENV"] == str(tmp_path / ".config" / "go" / "env")
    assert not env["XDG_CONFIG_HOME"].startswith(str(tmp_path))
    assert env["GOSUMDB"] == "off"
