"""The topics as declared."""

from schemas.catalog import TOPIC_RECORDS
from schemas.job import PRIORITIES
from schemas.topics import REQUEST_RETENTION_DAYS, Topics

DECLARED = {topic.name: topic for topic in Topics().declared(("mochi-1",), 8)}


def test_every_record_has_a_topic_and_every_topic_a_record() -> None:
    assert {topic.record for topic in DECLARED.values()} == set(TOPIC_RECORDS)


def test_time_is_the_brokers_everywhere() -> None:
    for topic in DECLARED.values():
        assert topic.config["message.timestamp.type"] == "LogAppendTime"


def test_requests_are_kept_for_less_than_the_dedupe_window() -> None:
    for priority in PRIORITIES:
        kept = int(DECLARED[f"ttv.jobs.requested.{priority}"].config["retention.ms"])
        assert kept == REQUEST_RETENTION_DAYS * 86_400_000 < 7 * 86_400_000


def test_what_a_fold_stands_on_is_never_dropped_by_time() -> None:
    for name in ("inbox", "assignments"):
        assert DECLARED[f"ttv.pool.mochi-1.{name}"].config["retention.ms"] == "-1"
    for name in ("pool.mochi-1.state", "pool.mochi-1.outlook", "tenants"):
        assert DECLARED[f"ttv.{name}"].config["cleanup.policy"] == "compact"


def test_a_slot_is_a_partition_and_the_inbox_is_one_order() -> None:
    assert DECLARED["ttv.pool.mochi-1.assignments"].partitions == 8
    assert DECLARED["ttv.pool.mochi-1.inbox"].partitions == 1
