"""What Kafka and Faust do wrong by themselves: uncommitted reads, lost and skipped records."""

import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # exported without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from infra.kafka import PARTITIONER, common
from streams.admission.decide import partition_of
from tests.integration.streams.bus import PARTITIONS, Bus, Running, wait_for

RAISING = "tests.integration.streams.raising_app"
ADMISSION = "streams.admission"


def transactional(bus: Bus) -> Producer:
    producer = Producer(
        common(bus.settings)
        | {"transactional.id": f"{bus.settings.topic_prefix}test", "partitioner": PARTITIONER}
    )
    producer.init_transactions(15)
    return producer


def test_records_of_aborted_transactions_are_never_seen(bus: Bus) -> None:
    producer = transactional(bus)
    for batch in range(10):
        producer.begin_transaction()
        for number in range(100):
            value = bus.a_request(f"aborted {batch}-{number}")
            producer.produce(bus.requested, value, b"acme")
        producer.flush(15)
        producer.abort_transaction(15)
    producer.begin_transaction()
    producer.produce(bus.requested, bus.a_request("committed"), b"acme")
    producer.commit_transaction(15)
    last = bus.send(bus.a_request("last"))
    with bus.run(ADMISSION) as app:
        assert bus.prompts(2) == ["committed", "last"]
        # A log full of gaps does not hold up the commits.
        wait_for("commit", lambda: bus.committed("admission", last) == last.offset + 1)
        assert app.terminate() == 0


def test_a_kill_amid_transactions_of_one_record_loses_none(bus: Bus, tmp_path: Path) -> None:
    producer = transactional(bus)
    for number in range(40):  # each is followed by a marker: a gap at every second offset
        producer.begin_transaction()
        producer.produce(bus.requested, bus.a_request(f"{number}"), b"acme")
        producer.commit_transaction(15)
    marker = tmp_path / "crash"
    with bus.run(ADMISSION, crash_at=f"admission_before_ack:{marker}") as app:
        wait_for("some admitted", bus.admitted)
        marker.touch()
        bus.send(bus.a_request("after"))
        assert app.died() == -9
    with bus.run(ADMISSION):
        assert set(bus.prompts(41)) == {"after", *map(str, range(40))}


def test_a_handler_that_raises_on_record_two_of_five_loses_none(bus: Bus, tmp_path: Path) -> None:
    for value in (b"1", b"2", b"3", b"4", b"5"):
        bus.send(value)
    marker = tmp_path / "raise"
    marker.touch()
    with bus.run(RAISING, str(marker)) as app:
        assert app.died() == 70
        assert app.says("handler.failed")
        assert not app.says("record two"), "an exception's text may hold a tenant's data"
    with bus.run(RAISING, str(marker)):
        copied = wait_for(
            "all five",
            lambda: found if len(set(found := _values(bus))) == 5 else None,
        )
    assert set(copied) == {b"1", b"2", b"3", b"4", b"5"}
    assert copied.count(b"2") == 1


def _values(bus: Bus) -> list[bytes]:
    return [value for one in bus.messages(bus.inbox) if isinstance(value := one.value(), bytes)]


def test_an_output_that_is_not_acknowledged_leaves_its_record_unread(bus: Bus) -> None:
    limit_record_size(bus, 100)
    where = bus.send(bus.a_request("too large for the inbox"))
    with bus.run(ADMISSION) as app:
        assert app.died() == 70
    assert bus.committed("admission", where) == 0
    assert bus.facts() == []
    limit_record_size(bus, 1024 * 1024)
    with bus.run(ADMISSION):
        assert bus.prompts(1) == ["too large for the inbox"]


def limit_record_size(bus: Bus, most: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, bus.inbox, incremental_configs=[entry])
    admin = AdminClient(common(bus.settings))
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(15)


@pytest.mark.parametrize(
    "point",
    [
        "admission_after_state",
        "admission_after_output",
        "admission_before_ack",
        "admission_before_commit",
    ],
)
def test_a_kill_at_any_edge_repeats_a_record_and_loses_none(
    bus: Bus, tmp_path: Path, point: str
) -> None:
    prompts = [f"prompt {number}" for number in range(8)]
    for prompt in prompts:
        bus.send(bus.a_request(prompt))
    marker = tmp_path / "crash"
    marker.touch()
    with bus.run(ADMISSION, crash_at=f"{point}:{marker}") as app:
        assert app.died() == -9
    with bus.run(ADMISSION):
        seen = bus.prompts(len(prompts))
    assert set(seen) == set(prompts)
    assert len(seen) == len(prompts) + (point != "admission_after_state")
    ids = {job.job_id for job in bus.admitted()}
    assert len(ids) == len(prompts), "a repeat has the id of the first"


def more_facts_than(bus: Bus, count: int) -> bool:
    return len(bus.facts()) > count


def test_kills_at_random_moments_lose_nothing(bus: Bus) -> None:
    seed = int(os.environ.get("TEST_SEED") or random.randrange(2**32))
    print(f"TEST_SEED={seed}")  # noqa: T201 shown if the test fails
    rng = random.Random(seed)
    tenants = [f"tenant-{number}" for number in range(7)]
    for turn in range(3):
        for number in range(100):
            tenant = rng.choice(tenants)
            bus.producer.produce(
                bus.requested,
                bus.a_request(f"{turn} {number}", tenant_id=tenant),
                tenant.encode(),
                partition=partition_of(tenant, PARTITIONS),
            )
        assert bus.producer.flush(15) == 0
        done = len(bus.facts())
        with bus.run(ADMISSION) as app:
            wait_for("progress", partial(more_facts_than, bus, done))
            time.sleep(rng.uniform(0, 0.2))  # the moment is what is random
            app.kill()
    with bus.run(ADMISSION):
        seen = bus.prompts(300)
    assert set(seen) == {f"{turn} {number}" for turn in range(3) for number in range(100)}
    assert len({job.job_id for job in bus.admitted()}) == 300


def test_a_clean_stop_repeats_nothing(bus: Bus) -> None:
    for number in range(20):
        bus.send(bus.a_request(f"{number}"))
    with bus.run(ADMISSION) as app:
        bus.prompts(20)
        started = time.monotonic()
        assert app.terminate() == 0
        assert time.monotonic() - started < 10
    bus.send(bus.a_request("next"))
    with bus.run(ADMISSION):
        assert len(bus.prompts(21)) == 21


def test_two_processes_share_the_work_and_one_takes_over_from_the_dead(bus: Bus) -> None:
    tenants = [f"tenant-{number}" for number in range(12)]

    def send_all(round_name: str) -> None:
        for tenant in tenants:
            bus.send(bus.a_request(f"{round_name} {tenant}", tenant_id=tenant), tenant=tenant)

    send_all("first")
    with bus.run(ADMISSION, instance="0") as one, bus.run(ADMISSION, instance="1") as two:
        bus.prompts(12)
        wait_for("both at work", partial(both_decide, one, two, send_all))
        one.kill()
        send_all("last")
        wanted = {f"{name} {tenant}" for name in ("first", "last") for tenant in tenants}
        wait_for("takeover", lambda: wanted <= {job.spec.prompt for job in bus.admitted()})
    sent = sum(1 for one in bus.messages(bus.requested) if one.value() is not None)
    assert len({job.job_id for job in bus.admitted()}) == sent


def both_decide(one: Running, two: Running, send_all: Callable[[str], None]) -> bool:
    if one.says("admission.decided") and two.says("admission.decided"):
        return True
    send_all("more")
    return False
