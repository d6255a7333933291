"""A wall clock that jumps under a running process, and leaves its other clock alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.clock import WallClock, compile_clock
from tests.chaos.plan import HOUR

TELLER = """
import json, sys, threading, time
began = time.monotonic()
for _ in sys.stdin:
    time.sleep(0.01)
    waited = time.monotonic()
    threading.Event().wait(0.05)
    now = time.monotonic()
    print(json.dumps([time.time(), now - began, now - waited]), flush=True)
"""


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_only_the_wall_clock_jumps(tmp_path: Path, jump: int) -> None:
    clock = WallClock(compile_clock(tmp_path), tmp_path / "clock")
    with subprocess.Popen(
        [sys.executable, "-c", TELLER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clock.environment,
    ) as teller:

        def told() -> tuple[float, float, float]:
            assert teller.stdin is not None
            assert teller.stdout is not None
            teller.stdin.write("\n")
            teller.stdin.flush()
            wall, monotonic, waited = json.loads(teller.stdout.readline())
            return wall, monotonic, waited

        right, before, _ = told()
        clock.jump(jump)
        wrong, after, waited = told()
        clock.jump(0)
        again, _, _ = told()
        assert teller.stdin is not None
        teller.stdin.close()
    assert abs(wrong - right - jump) < 60
    assert abs(again - right) < 60
    assert 0 < after - before < 60
    assert waited < 30
