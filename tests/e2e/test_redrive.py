"""A job that cannot be done is a dead letter; redriven, it is one new job, however often."""

import io
from typing import Any

import pytest

from infra.provision import object_store
from infra.stack import Stack
from infra.stack.services import environment
from schemas.records import Assignment
from schemas.topics import Topics
from tests.support.api import Api, fresh_id
from tests.support.feeds import completions, events_of, read_all
from tests.support.settings import settings_from
from tests.support.ttv import Ttv
from tests.support.wait import until

#: More attempts than any job gets.
MANY = 60


@pytest.fixture(scope="module")
def ttv(stack: Stack) -> Ttv:
    return Ttv.of(stack)


def incarnation(stack: Stack) -> str:
    orders = read_all(stack.info, Topics().assignments("mochi-1"), Assignment)
    return orders[-1].pool_incarnation


def poisoned(stack: Stack, api: Api) -> str:
    """A job whose every claim is damaged in the bucket, failed."""
    api.await_status(api.submit(), "completed")  # so that there is an order to read
    config = settings_from(environment(stack.info))
    store, life, job_id = object_store(config), incarnation(stack), fresh_id()
    for attempt in range(1, MANY + 1):
        key = f"claims/{life}/{job_id}/{attempt}"
        store.put_object(config.s3_bucket, key, io.BytesIO(b"damaged"), 7)
    assert api.submit(job_id=job_id, prompt="a very private fox", seed=5) == job_id
    assert api.await_status(job_id, "failed", seconds=110)["reason"]["code"] == "corrupt_record"
    return job_id


def letter_of(ttv: Ttv, job_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def there() -> bool:
        listed = ttv.json("dlq", "list", "--code", "corrupt_record")["data"]
        found[:] = [one for one in listed if one["job_id"] == job_id]
        return bool(found)

    until(there, 60, lambda: "no letter")
    assert len(found) == 1
    return found[0]


@pytest.mark.timeout(300)
def test_a_letter_redriven_three_times_at_once_is_one_job(stack: Stack, api: Api, ttv: Ttv) -> None:
    parent = poisoned(stack, api)
    letter = letter_of(ttv, parent)
    shown = ttv.json("dlq", "show", letter["id"])
    assert "private" not in str(shown)
    assert shown["redrive"]["possible"] is True
    assert [one["code"] for one in shown["history"]] == ["corrupt_record"] * len(shown["history"])
    assert len(shown["history"]) == letter["attempts"] > 1
    assert "private fox" in ttv.run("dlq", "show", letter["id"], "--prompt")

    at_once = [ttv.start("dlq", "redrive", letter["id"], "--json") for _ in range(3)]
    ended = [one.communicate(timeout=100) for one in at_once]
    assert [one.returncode for one in at_once] == [0, 0, 0], ended
    job_id = shown["redrive"]["job_id"]
    assert all(job_id in out for out, _ in ended)
    job = api.await_status(job_id, "completed")
    assert job["parent_job_id"] == parent
    assert (job["seed"], job["prompt"]) == (5, "a very private fox")

    again = ttv.json("dlq", "redrive", letter["id"])["data"][0]
    assert (again["action"], again["job_id"]) == ("ended", job_id)
    behind = api.submit()  # what was sent before it has been folded once it is done
    api.await_status(behind, "completed")
    assert completions(stack.info)[job_id] == 1
    kinds = [event.kind for event in events_of(stack.info, job_id)]
    assert kinds == ["Admitted", "Scheduled", "Started", "Completed"]
    assert completions(stack.info)[parent] == 1


def test_what_cannot_be_redriven_says_why(ttv: Ttv) -> None:
    missing = ttv.json("dlq", "redrive", fresh_id(), status=1)
    assert len(missing["missing"]) == 1
    assert "--all" in ttv.run("dlq", "redrive", status=1)
    assert "--since" in ttv.run("dlq", "list", "--since", "tomorrow", status=1)
