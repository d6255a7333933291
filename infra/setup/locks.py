"""``make lock``: resolve the Python, Maven and Go locks anew. Standard library only.

None names a host, so a checkout works with whatever mirror its machine is configured for.
"""

from __future__ import annotations

import re
from pathlib import Path

from infra.setup import paths, toolchain
from infra.setup.steps import command

#: Maven coordinates of each lock file; Kafka's own list lacks the bridge from its logging to log4j.
#: Kafka 4.3.0 to 4.4.0 complete a transaction without its markers when a partition has no leader,
#: as when the broker stops: its offsets and records then hang for ever (KAFKA-20734).
MAVEN = {
    "kafka.lock.toml": (
        "org.apache.kafka:kafka_2.13:4.2.2",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",
    ),
    "registry.lock.toml": ("io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all",),
}
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"


def resolve(env: dict[str, str]) -> None:
    """Write every lock file.

    Raises:
        StepError: if a resolver fails.
    """
    _python(env)
    _maven(env)
    _go(env)


def _python(base: dict[str, str]) -> None:
    env = toolchain.python_env(base) | {"UV_CUSTOM_COMPILE_COMMAND": "make lock"}
    uv = [str(paths.VENV / "bin" / "uv"), "pip", "compile", "--quiet", "--universal"]
    uv += ["--generate-hashes", "--no-annotate", "--python-version", "3.11", "--upgrade"]
    uv += ["--no-emit-index-url", "--no-emit-find-links"]
    overrides = ["--overrides", str(paths.SETUP / "overrides.txt")]
    jobs: list[tuple[list[str], str]] = [
        ([str(paths.SETUP / "bootstrap.in")], "bootstrap.lock"),
        ([str(paths.SETUP / "openai-2.3.in")], "openai-2.3.lock"),
        (
            [*overrides, "--extra", "local", "--extra", "dev", str(paths.ROOT / "pyproject.toml")],
            "requirements.lock",
        ),
    ]
    for arguments, name in jobs:
        command([*uv, *arguments, "-o", str(paths.SETUP / name)], env, paths.ROOT)


def _maven(base: dict[str, str]) -> None:
    env = toolchain.python_env(base)
    for name, coordinates in MAVEN.items():
        argv = [str(paths.VENV_PYTHON), "-m", "infra.setup.maven", "lock", str(paths.SETUP / name)]
        command([*argv, *coordinates], env, paths.ROOT)


def _go(base: dict[str, str]) -> None:
    env = toolchain.go_env(base) | {"GOFLAGS": "-mod=mod -modcacherw -buildvcs=false"}
    go, module = str(paths.VENV / "bin" / "go"), paths.SETUP / "versitygw"
    command([go, "get", "-tool", VERSITYGW], env, module)
    command([go, "mod", "tidy"], env, module)
    _drop_toolchain_line(module / "go.mod")


def _drop_toolchain_line(file: Path) -> None:
    # A toolchain line would make another Go fetch one; the wheel's is the one that is used.
    file.write_text(re.sub(r"(?m)^toolchain .*\n", "", file.read_text()))
