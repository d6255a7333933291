"""A registry that is away delays records; it never costs one."""

from tests.integration.streams.bus import Bus, wait_for
from tests.support.passage import closed, passage


def test_records_wait_for_the_registry_and_none_is_skipped(bus: Bus) -> None:
    here, port, registry = closed(bus.settings.registry)
    for number in range(3):
        bus.send(bus.a_request(f"{number}"))
    with bus.run("streams.admission", registry=here) as app:
        wait_for("an outage noticed", lambda: app.says("registry.unavailable"))
        assert bus.facts() == []
        assert bus.letters() == []
        with passage(port, registry):
            assert bus.prompts(3) == ["0", "1", "2"]
            assert app.terminate() == 0
    assert bus.letters() == []
