"""One renderer for all tests of this folder: a child takes long to import its libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_consumer.render.events import Ready
from gpu_consumer.render.renderer import Renderer
from tests.integration.render.rendering import Clock, settings, until


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the tiny model."""
    return tmp_path_factory.mktemp("render")


@pytest.fixture(scope="session")
def clock() -> Clock:
    """The shared renderer's clock."""
    return Clock()


@pytest.fixture(scope="session")
def started(folder: Path, clock: Clock) -> Iterator[tuple[Renderer, Ready]]:
    """A renderer, and what it said when its model was loaded."""
    with Renderer(settings(folder), clock) as renderer:
        ready, _ = until(renderer, Ready)
        yield renderer, ready


@pytest.fixture
def renderer(started: tuple[Renderer, Ready]) -> Renderer:
    """The shared renderer, with no job in hand."""
    return started[0]
