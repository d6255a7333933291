"""A disk that is full for a running process, and then is not."""

import subprocess
import sys
from pathlib import Path

from tests.chaos.disk import file_limit, no_room

WRITER = """
import sys
from pathlib import Path
for path in sys.stdin:
    try:
        with open(path.strip(), "wb") as file:
            file.write(bytes(5000))
        print("written", flush=True)
    except OSError as error:
        print(type(error).__name__, error.errno, flush=True)
"""


def test_writes_fail_while_there_is_no_room_and_work_again_after(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:

        def write(name: str) -> str:
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write(f"{tmp_path / name}\n")
            writer.stdin.flush()
            return writer.stdout.readline().strip()

        assert write("before") == "written"
        before = file_limit(writer.pid)
        with no_room([writer.pid]):
            assert write("meanwhile") == "OSError 27"
        assert file_limit(writer.pid) == before
        assert write("after") == "written"
        writer.terminate()


def test_a_process_that_is_gone_harms_nobody() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with no_room([gone.pid]):
        assert file_limit(gone.pid) is None
