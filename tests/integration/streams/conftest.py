import uuid
from pathlib import Path

import pytest

from infra.settings import Settings
from infra.stack import Stack
from infra.stack.services import environment
from tests.integration.streams.bus import Bus


@pytest.fixture
def bus(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bus:
    """Topics of the test's own on the shared stack's Kafka and registry."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    own = environment(stack.info) | {
        "TTV_TOPIC_PREFIX": prefix,
        "TTV_TRACE_DIR": str(tmp_path / "traces"),
    }
    with monkeypatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        settings = Settings()
    return Bus(settings, own, tmp_path)
