"""Dead letters are told of at least once, however often the app that tells of them is killed."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.records import DeadLetter
from tests.integration.streams.bus import Bus, Running, wait_for

APP = "streams.dead_letters"
COUNT = 8


def a_letter(bus: Bus, number: int) -> bytes:
    letter = DeadLetter(
        topic=bus.requested,
        partition=0,
        offset=number,
        value=b"a tenant's own",
        error_class="permanent",
        code="malformed",
        reason="it cannot be read",
        attempts=1,
        occurred_at=datetime.now(UTC),
    )
    return bus.codec.encode(bus.topics.dlq, letter)


def told(app: Running) -> list[int]:
    """Offsets that letters came from, in the order in which the app told of them."""
    lines = [line for line in app.log.read_text().splitlines() if '"dead_letter"' in line]
    return [json.loads(line)["origin"]["offset"] for line in lines]


@pytest.mark.parametrize(
    ("point", "first"),
    [
        ("dead-letters_after_state", []),
        ("dead-letters_before_ack", [0]),
        ("dead-letters_before_commit", [0]),
    ],
)
def test_a_kill_at_any_edge_tells_of_a_letter_again_and_loses_none(
    bus: Bus, tmp_path: Path, point: str, first: list[int]
) -> None:
    for number in range(COUNT):
        bus.send(a_letter(bus, number), topic=bus.topics.dlq, partition=0)
    marker = tmp_path / "crash"
    marker.touch()
    with bus.run(APP, crash_at=f"{point}:{marker}") as app:
        assert app.died() == -9
        assert told(app) == first
    with bus.run(APP) as app:
        wait_for("all letters", lambda: len(told(app)) >= COUNT)
        assert app.terminate() == 0
    assert told(app) == list(range(COUNT))
