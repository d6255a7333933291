from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2
import pytest

from infra.stack.services import environment
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log

if TYPE_CHECKING:
    from infra.stack import Stack


@pytest.fixture(scope="package")
def edge(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeStack]:
    """The edge with a worker and an API, apart from the stack's own."""
    made = EdgeStack(environment(stack.info), tmp_path_factory.mktemp("edge"))
    made.provision()
    try:
        made.worker()
        made.api({"TTV_HTTP_PORT": str(made.port)})
        yield made
    finally:
        made.close()


@pytest.fixture
def bare_edge(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeStack]:
    """An edge without processes: the test starts what it wants to break."""
    made = EdgeStack(environment(stack.info), tmp_path_factory.mktemp("edge"))
    made.provision()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def api(edge: EdgeStack) -> Iterator[httpx2.Client]:
    with edge.client(edge.key) as client:
        yield client


@pytest.fixture(scope="package")
def log(edge: EdgeStack) -> Log:
    return edge.log()
