from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.read_model import Placed, folded, job_uuid
from schemas.states import STATUS_OF_KIND
from tests.unit.ingest.events import happened, job

_JOBS = [job() for _ in range(3)]
_kinds = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([*STATUS_OF_KIND, "Teleported"])), max_size=30
)


def placed(steps: list[tuple[int, str]]) -> list[Placed]:
    """Events in log order."""
    made = []
    for offset, (which, kind) in enumerate(steps):
        known = kind if kind in STATUS_OF_KIND else "Started"
        event = happened(_JOBS[which], known)[0].model_copy(update={"kind": kind})
        made.append(Placed(event, 0, offset))
    return made


@given(_kinds)
def test_the_first_terminal_event_is_the_last_word(steps: list[tuple[int, str]]) -> None:
    log = placed(steps)
    for row in folded(log):
        of = [p for p in log if job_uuid(p.event.job_id) == row["job_id"]]
        known = [p for p in of if p.event.kind in STATUS_OF_KIND]
        ends = [p for p in known if STATUS_OF_KIND[p.event.kind] not in {"pending", "processing"}]
        last = ends[0] if ends else known[-1]
        assert row["phase"] == last.event.kind
        assert row["event_offset"] == last.offset
        assert (row["completed_at"] is not None) == bool(ends)


@given(_kinds)
def test_unknown_kinds_change_nothing(steps: list[tuple[int, str]]) -> None:
    log = placed(steps)
    known = [p for p in log if p.event.kind in STATUS_OF_KIND]
    assert folded(log) == folded(known)


def test_the_first_start_is_when_it_started() -> None:
    events = happened(_JOBS[0], "Admitted", "Started", "Retrying", "Started", "Completed")
    [row] = folded(Placed(event, 0, n) for n, event in enumerate(events))
    assert row["started_at"] == events[1].occurred_at
    assert row["confirmed_at"] == events[0].occurred_at
    assert row["completed_at"] == events[4].occurred_at
