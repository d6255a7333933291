"""What the end-to-end tests share."""

from collections.abc import Iterator

import pytest

from infra.stack import Stack
from tests.support.api import Api


@pytest.fixture(scope="session")
def api(stack: Stack) -> Iterator[Api]:
    """The stack's HTTP API."""
    with Api(stack.info) as api:
        yield api
