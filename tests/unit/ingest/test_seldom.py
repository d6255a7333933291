from __future__ import annotations

from ingest.identity.seldom import Seldom


def test_the_same_is_said_once_an_interval_and_other_things_meanwhile() -> None:
    seldom = Seldom(60)
    assert seldom.due("a", 0)
    assert not seldom.due("a", 59.9)
    assert seldom.due("b", 59.9)
    assert seldom.due("a", 60)
    assert not seldom.due("a", 61)


def test_memory_is_bounded_and_the_oldest_are_forgotten() -> None:
    seldom = Seldom(60, most=100)
    assert all(seldom.due(n, 0) for n in range(10_000))
    assert not seldom.due(9_999, 1)
    assert seldom.due(0, 1)
