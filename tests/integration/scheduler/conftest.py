import uuid
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack import Stack
from infra.stack.services import environment
from tests.integration.scheduler.pool_bus import PoolBus


@pytest.fixture
def pool(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PoolBus:
    """A pool's topics of the test's own on the shared stack's Kafka and registry."""
    own = environment(stack.info) | {
        "TTV_TOPIC_PREFIX": f"t{uuid.uuid4().hex[:8]}.",
        "TTV_TRACE_DIR": str(tmp_path / "traces"),
        "TTV_SLOTS": "3",
        "TTV_TICK_INTERVAL": "0.2",
        # Machines that run tests are slow at times: nobody here is dead because of it.
        "TTV_BEAT_TIMEOUT": "120",
    }
    with monkeypatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        settings = Settings()
    return PoolBus(settings, own, tmp_path)
