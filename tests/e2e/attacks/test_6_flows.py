"""API6: a flow that costs money, driven by a program: repeats, floods, guesses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx2
import pytest

from infra.stack import Stack
from tests.e2e.attacks.replica import replica
from tests.support.api import SMALL, Api


@pytest.fixture
def small(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second API process of the stack, with limits that are soon reached."""
    env = {
        "TTV_LIMITER": "",
        "TTV_LIMIT_KEY": "submit=5 write=30 read=60",
        "TTV_LIMIT_FAILURES": "20",
    }
    with replica(stack, tmp_path_factory.mktemp("small"), env) as url:
        yield url


def test_a_flood_is_told_to_slow_down_and_makes_no_more_than_its_share(
    small: str, key_of: Callable[[str, str], str]
) -> None:
    headers = {"authorization": f"Bearer {key_of('flood', 'creator')}"}
    with httpx2.Client(base_url=small, headers=headers, timeout=30) as client:
        body = {"prompt": "a fox", **SMALL}
        answers = [client.post("/v1/jobs", json=body) for _ in range(30)]
        taken = [answer for answer in answers if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(taken) + len(refused) == 30
        assert 1 <= len(taken) <= 10
        for answer in refused:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["code"] == "rate_limited"
        # Nothing of it goes round the limit: not as a batch, not by the other API.
        batch = client.post("/v1/jobs/batch", json={"jobs": [body] * 50})
        assert batch.status_code == 429
        assert client.post("/v1/videos", json={"prompt": "a fox"}).status_code == 429
        assert len(client.get("/v1/jobs", params={"limit": 100}).json()["data"]) == len(taken)


def test_keys_cannot_be_tried_out_at_speed(small: str) -> None:
    statuses = [
        httpx2.get(
            f"{small}/v1/jobs", headers={"x-api-key": f"guess-{number}"}, timeout=30
        ).status_code
        for number in range(60)
    ]
    assert set(statuses) == {401, 429}
    assert statuses[-1] == 429


def test_a_request_sent_again_and_again_is_one_job(api: Api) -> None:
    headers = {"idempotency-key": "attack-again"}
    body = {"prompt": "a fox", **SMALL}
    answers = [api.http.post("/v1/jobs", json=body, headers=headers) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    changed = api.http.post("/v1/jobs", json=body | {"seed": 1}, headers=headers)
    assert (changed.status_code, changed.json()["code"]) == (422, "idempotency_conflict")
