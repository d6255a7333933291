"""The journal is on the disk before anybody hears of it."""

import json
from pathlib import Path

from tests.chaos.journal import Accepted, BadRecord, Cancelling, Journal


def test_what_was_noted_is_in_the_file_and_in_memory(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    job, bad = Accepted("a", "t", "http"), BadRecord("requests", 1, 7)
    journal.note([job, Cancelling("a")])
    journal.note([bad])
    assert (journal.accepted, journal.cancelling, journal.bad) == ({"a": job}, {"a"}, [bad])
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert [line["entry"] for line in lines] == ["Accepted", "Cancelling", "BadRecord"]
    assert lines[0]["job_id"] == "a"
    journal.close()


def test_a_job_confirmed_twice_is_one_job(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.note([Accepted("a", "t", "http")] * 2)
    assert len(journal.accepted) == 1
    journal.close()
