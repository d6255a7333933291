"""The topics as declared."""

from schemas.catalog import TOPIC_RECORDS
from schemas.job import PRIORITIES
from schemas.topics import REQUEST_RETENTION_DAYS, Source, Topics

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


def test_a_topic_that_admission_reads_tells_its_priority_and_its_tenant() -> None:
    topics = Topics("x.")
    tenants = ("acme", "a.b")
    expected = {
        (priority, tenant) for priority in (*PRIORITIES, None) for tenant in (None, *tenants)
    }
    assert {topics.source(name) for name in topics.sources(tenants)} == expected
    assert topics.source("x.jobs.requested.high.a.b") == Source("high", "a.b")


def test_no_other_topic_is_taken_for_one_of_them() -> None:
    topics = Topics("x.")
    for name in ("x.jobs.requested", "x.jobs.requested.", "x.jobs.requested.highest", "x.jobs.dlq"):
        assert topics.source(name) is None
    for name in ("y.jobs.requested.high", "x.jobs.requested.high.", "x.jobs.controlled"):
        assert topics.source(name) is None


def test_a_tenants_topics_are_like_the_shared_ones_but_in_one_order() -> None:
    own = {t.name: t for t in Topics().declared(("mochi-1",), 8, ("acme",))}
    assert own.keys() - DECLARED.keys() == set(Topics().sources(("acme",))) - DECLARED.keys()
    for name in own.keys() - DECLARED.keys():
        shared = DECLARED[name.removesuffix(".acme")]
        assert (own[name].record, own[name].config) == (shared.record, shared.config)
        assert own[name].partitions == 1
