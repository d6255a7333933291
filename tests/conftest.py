"""Fixtures that every tier shares: the whole local stack, started once for all who ask for it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from infra.stack import Stack

#: GPU consumers of the shared stack.
GPUS = int(os.environ.get("TTV_TEST_GPUS", "4"))
#: Renders of seconds are checkpointed as renders of minutes are.
#: A render that shows no sign of life is given up in seconds. Crash points are armed by files.
SETTINGS = {
    "TTV_CHECKPOINT_EVERY_STEPS": "10",
    "TTV_STEP_TIMEOUT": "15",
    "TTV_CRASH_AT": "crash/",
}
_LOG_LINES = 25


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, running; whoever breaks a part of it waits until it is whole again."""
    data = tmp_path_factory.mktemp("stack") / "data"
    with Stack.start(data, gpus=GPUS, env=SETTINGS) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every log when a test that uses a stack fails."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Stack):
                for log in sorted(value.layout.logs.glob("*.log")):
                    report.sections.append((log.name, value.log_tail(log.stem, _LOG_LINES)))
    return report
