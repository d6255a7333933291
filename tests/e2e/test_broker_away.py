"""A broker that is away costs the time that it is away."""

import signal
import threading
import time
import uuid
from collections import Counter

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.kafka import Outgoing, committed_consumer, committed_offset, common
from infra.settings import Settings
from infra.stack import Stack
from infra.transactions import TransactionError, Transactions
from tests.e2e.crashing import JOB, Strike, openings, patient, strike
from tests.support.api import Api
from tests.support.feeds import completions, events_of, settings_of
from tests.support.wait import until

pytestmark = pytest.mark.strike

#: Longer than Kafka lets a transaction be open.
AWAY = 20.0
COMMITTERS = 8
STOPS = 6


@pytest.mark.timeout(240)
@pytest.mark.parametrize("point", ["gpu_before_send_offsets", "gpu_before_commit"])
def test_a_broker_away_in_the_middle_of_a_commit_costs_that_time_and_nothing_else(
    stack: Stack, api: Api, point: str
) -> None:
    """The slot is held at the edge of its commit until the broker has stopped answering."""
    with patient(stack):  # it is silent while it is held
        one = Strike(point, "frozen")
        strike(stack, api, [one])
        pid = stack.process(one.slot).pid
        stack.signal("kafka", signal.SIGSTOP)
        try:
            stack.signal(one.slot, signal.SIGCONT)
            accepted = [api.submit(**JOB) for _ in range(2)]
            threading.Event().wait(AWAY)  # what is tested is a time
        finally:
            stack.signal("kafka", signal.SIGCONT)
        for job_id in [one.job_id, *accepted]:
            api.await_status(job_id, "completed", seconds=120)
            assert completions(stack.info)[job_id] == 1
            kinds = Counter(event.kind for event in events_of(stack.info, job_id))
            assert (kinds["Admitted"], kinds["Completed"]) == (1, 1)
    assert events_of(stack.info, one.job_id)[-1].attempt == 1
    assert (stack.process(one.slot).pid, openings(stack, one.slot)) == (pid, one.opened)


class Committer(threading.Thread):
    """Commits without a pause, each time under a new epoch, as a slot does.

    Attributes:
        at: When it last committed, monotonic.
    """

    def __init__(self, settings: Settings, topic: str, number: int, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.at = 0.0
        self._settings = settings
        self._place = TopicPartition(topic, number)
        self._over = over

    def run(self) -> None:
        topic, number = self._place.topic, self._place.partition
        transactions = Transactions(self._settings, f"{topic}.{number}")
        consumer = committed_consumer(self._settings, topic)
        while not self._over.is_set():
            try:
                transactions.renew()
                last = committed_offset(consumer, topic, number, timeout=5.0)
                offset = last.offset + 1 if last is not None else 0
                records = [
                    Outgoing(topic, b"value", partition=(number + n) % COMMITTERS) for n in range(3)
                ]
                transactions.commit(records, TopicPartition(topic, number, offset), consumer)
                self.at = time.monotonic()
            except (KafkaException, TransactionError):
                consumer = committed_consumer(self._settings, topic)
        transactions.discard()


@pytest.mark.timeout(240)
def test_a_broker_that_stops_in_order_leaves_no_transaction_open(stack: Stack) -> None:
    settings = settings_of(stack.info)
    topic = f"tests.{uuid.uuid4().hex}"
    admin = AdminClient(common(settings))
    admin.create_topics([NewTopic(topic, COMMITTERS, 1)])[topic].result(30)
    over = threading.Event()
    committers = [Committer(settings, topic, number, over) for number in range(COMMITTERS)]

    def all_committed(since: float) -> bool:
        return all(one.at > since for one in committers)

    try:
        for one in committers:
            one.start()
        until(lambda: all_committed(0.0), 60)
        for _ in range(STOPS):
            time.sleep(1.0)  # commits are under way
            stack.stop_process("kafka")
            stack.start_process("kafka")
            back = time.monotonic()
            until(lambda: all_committed(back), 60)  # noqa: B023 called at once
    finally:
        over.set()
        for one in committers:
            one.join(60)
