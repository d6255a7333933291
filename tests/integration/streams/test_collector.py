"""The collector on real Kafka and a real bucket: aborted events, crashes, an absent store."""

from __future__ import annotations

import io
import uuid

import pytest
from confluent_kafka import Producer

from infra.kafka import common, plain_producer
from infra.provision import make_bucket, make_topics, object_store, register_schemas
from schemas.records import JobEvent
from tests.integration.streams.bus import Bus, free_port, wait_for
from tests.unit.ingest.events import artifact, happened, job

pytestmark = pytest.mark.stack


@pytest.fixture
def feed(bus: Bus) -> Bus:
    """The bus with a completion feed."""
    made = [t for t in bus.topics.declared((bus.settings.pool,), 1) if t.name.endswith("completed")]
    make_topics(bus.settings, made)
    register_schemas(bus.settings, made)
    make_bucket(bus.settings)
    return bus


class Leftovers:
    """A job's objects in the bucket: two starts, a checkpoint, two videos, a claim."""

    def __init__(self, bus: Bus) -> None:
        self.job = job()
        self._store, self._bucket = object_store(bus.settings), bus.settings.s3_bucket
        life, owner, name = str(uuid.uuid4()), self.job.tenant_id, self.job.job_id
        folder = f"videos/{owner}/{name}/{life}"
        self.video = f"{folder}/1-2.mp4"
        self.kept = {
            f"claims/{life}/{name}/1",
            self.video,
            f"{folder}/1-2.json",
            f"{folder}/1-2.manifest.json",
        }
        self.spare = {
            f"starts/{life}/{name}/1/1",
            f"starts/{life}/{name}/1/2",
            f"checkpoints/{owner}/{name}/{life}/1-1/00010.safetensors",
            f"checkpoints/{owner}/{name}/{life}/1-1/00010.json",
            f"{folder}/1-1.mp4",
        }
        for key in self.kept | self.spare:
            self._store.put_object(self._bucket, key, io.BytesIO(b"x"), 1)

    def there(self) -> set[str]:
        listed = self._store.list_objects(self._bucket, recursive=True)
        return {str(one.object_name) for one in listed if self.job.job_id in str(one.object_name)}

    def end(self, kind: str = "Completed") -> JobEvent:
        return happened(self.job, kind, artifact_=artifact(self.video, 1))[0]


def tell(bus: Bus, event: JobEvent) -> None:
    producer = plain_producer(bus.settings)
    topic = bus.topics.completed
    producer.produce(topic, bus.codec.encode(topic, event), event.job_id.encode())
    assert producer.flush(15) == 0


def tell_in_vain(bus: Bus, event: JobEvent) -> None:
    """An event of a transaction that came to nothing."""
    producer = Producer(common(bus.settings) | {"transactional.id": f"{bus.topics.prefix}abort"})
    producer.init_transactions(30)
    producer.begin_transaction()
    topic = bus.topics.completed
    producer.produce(topic, bus.codec.encode(topic, event), event.job_id.encode())
    assert producer.flush(15) == 0
    producer.abort_transaction(30)


def test_leftovers_go_the_named_video_stays_and_an_aborted_event_deletes_nothing(
    feed: Bus,
) -> None:
    running, done, failed = Leftovers(feed), Leftovers(feed), Leftovers(feed)
    tell_in_vain(feed, running.end())
    with feed.run("streams.collector", collect_after="0.2"):
        tell(feed, done.end())
        tell(feed, failed.end("Failed"))
        wait_for("done is collected", lambda: done.there() == done.kept)
        claim = {key for key in failed.kept if key.startswith("claims/")}
        wait_for("failed is collected", lambda: failed.there() == claim)
    assert running.there() == running.kept | running.spare


def test_both_passes_read_the_feed_each_for_itself(feed: Bus) -> None:
    early, late = Leftovers(feed), Leftovers(feed)
    tell(feed, early.end())
    with feed.run("streams.collector", collect_after="0"):
        wait_for("the first pass", lambda: early.there() == early.kept)
    tell(feed, late.end())
    again = f"checkpoints/{early.job.tenant_id}/{early.job.job_id}"
    zombie = next(key for key in early.spare if key.startswith(again))
    object_store(feed.settings).put_object(feed.settings.s3_bucket, zombie, io.BytesIO(b"x"), 1)
    with feed.run("streams.collector", "late", collect_late_after="0"):
        wait_for("what a zombie wrote", lambda: early.there() == early.kept)
        wait_for("the late pass", lambda: late.there() == late.kept)


def test_a_collector_that_dies_after_deleting_does_it_again_without_harm(feed: Bus) -> None:
    of = Leftovers(feed)
    tell(feed, of.end())
    with feed.run("streams.collector", collect_after="0", crash_at="collector_before_ack") as dying:
        assert dying.died() == -9
    assert of.there() == of.kept
    behind = Leftovers(feed)
    tell(feed, behind.end())
    with feed.run("streams.collector", collect_after="0"):
        wait_for("the job behind it", lambda: behind.there() == behind.kept)
    assert of.there() == of.kept


@pytest.mark.strike
def test_a_store_that_is_away_is_waited_for(feed: Bus) -> None:
    of = Leftovers(feed)
    tell(feed, of.end())
    dead = f"http://127.0.0.1:{free_port()}"
    with feed.run("streams.collector", collect_after="0", s3_endpoint=dead) as waiting:
        wait_for("a failure", lambda: waiting.says("collector.store_failed"))
        assert waiting.terminate() == 0
    assert of.there() == of.kept | of.spare
    with feed.run("streams.collector", collect_after="0"):
        wait_for("collected", lambda: of.there() == of.kept)
