"""The steps of set-up: what each needs, makes and runs. Standard library only."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from infra.setup import paths, toolchain
from infra.setup.steps import Step, command

_BOOTSTRAP = paths.SETUP / "bootstrap.lock"
_REQUIREMENTS = paths.SETUP / "requirements.lock"
_KAFKA_LOCK = paths.SETUP / "kafka.lock.toml"
_REGISTRY_LOCK = paths.SETUP / "registry.lock.toml"
_OPENAI_2_3 = paths.SETUP / "openai-2.3.lock"
_GO_MODULE = paths.SETUP / "versitygw"
_VERSITYGW = "github.com/versity/versitygw/cmd/versitygw"


def steps(base: dict[str, str]) -> list[Step]:
    """All steps, for the environment ``base`` (such as ``os.environ``)."""
    return [
        Step(
            "python",
            "Python environment in .venv, from hash-locked wheels",
            inputs=lambda: [sys.version, sys.base_prefix, _BOOTSTRAP, _REQUIREMENTS],
            outputs=[paths.VENV_PYTHON, paths.VENV / "bin" / "uv"],
            action=lambda: _python(base),
        ),
        Step(
            "rust",
            "rust_guard, compiled and installed with the ttv command",
            inputs=_rust_inputs,
            outputs=[paths.VENV / "bin" / "ttv", paths.ROOT / "rust_guard" / "_rust.abi3.so"],
            action=lambda: _rust(base),
            after=["python"],
        ),
        Step(
            "kafka",
            "Apache Kafka, from Maven coordinates with locked SHA-256s",
            inputs=lambda: [_KAFKA_LOCK],
            outputs=[paths.KAFKA],
            action=lambda: _maven(base, _KAFKA_LOCK, paths.KAFKA),
            after=["python"],
        ),
        Step(
            "registry",
            "Apicurio schema registry, from Maven coordinates with locked SHA-256s",
            inputs=lambda: [_REGISTRY_LOCK],
            outputs=[paths.REGISTRY],
            action=lambda: _maven(base, _REGISTRY_LOCK, paths.REGISTRY),
            after=["python"],
        ),
        Step(
            "s3",
            "versitygw, compiled from modules with locked hashes (a minute or two)",
            inputs=lambda: [_GO_MODULE / "go.mod", _GO_MODULE / "go.sum"],
            outputs=[paths.VERSITYGW],
            action=lambda: _versitygw(base),
            after=["python"],
        ),
        Step(
            "openai-2.3",
            "an old openai client beside the new one, for the tests of /v1/videos",
            inputs=lambda: [sys.version, _OPENAI_2_3],
            outputs=[paths.OPENAI_2_3 / "openai"],
            action=lambda: _old_client(base),
            after=["python"],
        ),
        *(_training(base, name) for name in ("kafka", "registry")),
    ]


def _python(base: dict[str, str]) -> None:
    env = toolchain.python_env(base)
    if not _is_current_venv():
        command([sys.executable, "-m", "venv", "--clear", str(paths.VENV)], env, paths.ROOT)
    python = str(paths.VENV_PYTHON)
    pip = [python, "-m", "pip", "install", "--quiet", "--require-hashes"]
    command([*pip, "-r", str(_BOOTSTRAP)], env, paths.ROOT)
    uv = [str(paths.VENV / "bin" / "uv"), "pip", "sync", "--python", python, "--require-hashes"]
    command([*uv, str(_BOOTSTRAP), str(_REQUIREMENTS)], env, paths.ROOT)


def _old_client(base: dict[str, str]) -> None:
    env = toolchain.python_env(base)
    shutil.rmtree(paths.OPENAI_2_3, ignore_errors=True)
    uv = [str(paths.VENV / "bin" / "uv"), "pip", "install", "--quiet", "--require-hashes"]
    python = ["--python", str(paths.VENV_PYTHON)]
    target = ["--target", str(paths.OPENAI_2_3), "-r", str(_OPENAI_2_3)]
    command([*uv, *python, *target], env, paths.ROOT)


def _is_current_venv() -> bool:
    if not paths.VENV_PYTHON.exists():
        return False
    ask = "import sys, pip; print(sys.version + sys.base_prefix)"
    try:
        done = subprocess.run(
            [paths.VENV_PYTHON, "-I", "-c", ask], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return done.stdout.strip() == (sys.version + sys.base_prefix).strip()


def _rust_inputs() -> Iterable[Path | str]:
    yield paths.ROOT / "Cargo.toml"
    yield paths.ROOT / "Cargo.lock"
    crates = paths.ROOT / "rust_guard"
    yield from sorted(
        path
        for path in crates.rglob("*")
        if (path.suffix == ".rs" and "tests" not in path.parts) or path.name == "Cargo.toml"
    )
    # Of pyproject.toml, what decides the wheel; a change of a linter's settings builds nothing.
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())
    yield repr((project["build-system"], project["project"], project["tool"]["maturin"]))


def _rust(base: dict[str, str]) -> None:
    env = toolchain.cargo_env(toolchain.python_env(base))
    env["PATH"] = f"{paths.VENV / 'bin'}:{env.get('PATH', '')}"
    uv = [str(paths.VENV / "bin" / "uv"), "pip", "install", "--python", str(paths.VENV_PYTHON)]
    # Dependencies come from the lock; maturin, the build backend, is in the environment.
    build = ["--no-deps", "--no-build-isolation", "--offline", "--reinstall", "--editable"]
    command([*uv, *build, str(paths.ROOT)], env, paths.ROOT)


def _maven(base: dict[str, str], lock: Path, folder: Path) -> None:
    env = toolchain.python_env(base)
    fetch = [str(paths.VENV_PYTHON), "-m", "infra.setup.maven", "fetch", str(lock), str(folder)]
    command(fetch, env, paths.ROOT)


def _training(base: dict[str, str], name: str) -> Step:
    stack = paths.ROOT / "infra" / "stack"
    env = toolchain.python_env(base)
    return Step(
        f"{name}-fast",
        f"{name} run once, so that Java starts it fast from now on",
        inputs=lambda: [stack / "servers.py", stack / "training.py"],
        outputs=[paths.JAVA_ARCHIVES / f"{name}.aot"],
        action=lambda: command(
            [str(paths.VENV_PYTHON), "-m", "infra.stack.training", name], env, paths.ROOT
        ),
        after=[name],
    )


def _versitygw(base: dict[str, str]) -> None:
    paths.VERSITYGW.parent.mkdir(parents=True, exist_ok=True)
    fresh = paths.VERSITYGW.with_suffix(".new")
    go = [str(paths.VENV / "bin" / "go"), "build", "-trimpath", "-ldflags", "-s -w"]
    command([*go, "-o", str(fresh), _VERSITYGW], toolchain.go_env(base), _GO_MODULE)
    fresh.replace(paths.VERSITYGW)
    # The compiler's cache has served its purpose, and is far larger than the program.
    shutil.rmtree(paths.CACHE / "go" / "build", ignore_errors=True)
