"""A slot that starts while a server is away waits for it, with its model loaded."""

from pathlib import Path

import pytest

from infra.settings import STAND_IN
from tests.integration.scheduler.pool_bus import PoolBus
from tests.integration.streams.bus import wait_for
from tests.support.passage import closed, passage


@pytest.mark.parametrize(
    "server", ["registry", pytest.param("s3_endpoint", marks=pytest.mark.strike)]
)
def test_a_slot_opens_when_the_server_is_there(pool: PoolBus, tmp_path: Path, server: str) -> None:
    here, port, there = closed(getattr(pool.settings, server))
    settings = {"model": STAND_IN, "work_dir": str(tmp_path / "work"), server: here}
    with pool.run("gpu_consumer", **settings) as slot:
        wait_for("an attempt", lambda: slot.says("stamina.retry_scheduled"))
        assert pool.facts() == []
        with passage(port, there):
            wait_for("an open slot", pool.facts)
            assert slot.terminate() == 0
