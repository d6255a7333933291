"""The trace of a request goes on with its job; a request without one starts one."""

import json

from infra.telemetry import traceparent_of
from tests.integration.streams.bus import Bus

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_one_span_links_the_request_to_the_fact(bus: Bus) -> None:
    bus.send(bus.a_request("traced"), headers=[("traceparent", PARENT.encode())])
    bus.send(bus.a_request("untraced"), headers=[("traceparent", b"\xff\x00not one")])
    with bus.run("streams.admission") as app:
        bus.prompts(2)
        assert app.terminate() == 0
    traced, untraced = bus.admitted()
    first, second = bus.messages(bus.inbox)
    assert traced.traceparent is not None
    assert untraced.traceparent is not None
    assert traced.traceparent.split("-")[1] == TRACE
    assert untraced.traceparent.split("-")[1] != TRACE
    assert traceparent_of(first.headers()) == traced.traceparent
    assert traceparent_of(second.headers()) == untraced.traceparent
    spans = [
        json.loads(line)
        for file in (bus.folder / "traces").glob("admission-*.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert [span["name"] for span in spans] == ["admission", "admission"]
    assert spans[0]["context"]["trace_id"] == f"0x{TRACE}"
    assert spans[0]["parent_id"] == "0x00f067aa0ba902b7"
    assert spans[0]["context"]["span_id"] == f"0x{traced.traceparent.split('-')[2]}"
    assert spans[1]["parent_id"] is None
