"""Every route with every role, and every route of a job with another tenant's, over sockets."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator

import httpx2
import pytest

from infra.provision import object_store
from ingest.identity.policy import ROLES, permits
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.log import Log
from tests.integration.ingest.test_submit import add_key
from tests.support.routes import Guarded, guarded
from tests.support.wait import until
from tests.unit.ingest.events import artifact, happened, job

pytestmark = pytest.mark.stack

#: Headers that differ from one answer to the next, whoever asks.
_OF_THE_MOMENT = ("date", "traceparent", "ratelimit", "x-request-id", "retry-after")


@pytest.fixture(scope="module")
def clients(edge: EdgeStack) -> Iterator[dict[str, httpx2.Client]]:
    """A client of each role, of a tenant of their own."""
    made: dict[str, httpx2.Client] = {
        role: edge.client(add_key(edge, "cells", role)) for role in ROLES
    }
    yield made
    for client in made.values():
        client.close()


@pytest.mark.parametrize("route", guarded(), ids=lambda route: f"{route.method} {route.path}")
def test_a_route_lets_in_the_roles_of_its_policy_and_nobody_else(
    edge: EdgeStack, clients: dict[str, httpx2.Client], route: Guarded
) -> None:
    for role, client in clients.items():
        # Streams never end: only the head of the answer is read.
        with client.stream(route.method, route.at()) as answer:
            assert answer.status_code not in {401, 500}
            allowed = any(permits(role, action) for action in route.actions)
            assert (answer.status_code != 403) == allowed, role
    with httpx2.Client(base_url=f"http://127.0.0.1:{edge.port}") as anonymous:
        assert anonymous.request(route.method, route.at()).status_code == 401


@pytest.fixture(scope="module")
def foreign(edge: EdgeStack, log: Log) -> dict[str, str]:
    """Ids of another tenant: a finished job with its video, a waiting one, an endpoint."""
    done = job(tenant_id="owner")
    key = f"videos/{done.job_id}.mp4"
    object_store(edge.settings).put_object(edge.settings.s3_bucket, key, io.BytesIO(b"video"), 5)
    video = artifact(key, 5, edge.settings.s3_bucket)
    log.write(happened(done, "Admitted", "Completed", artifact_=video))
    with edge.client(add_key(edge, "owner")) as owner:
        waiting = owner.post("/v1/jobs", json={"prompt": "mine"}).json()["id"]
        endpoint = owner.post("/v1/webhooks", json={"url": "http://127.0.0.1:9999/"}).json()["id"]
        path = f"/v1/jobs/{done.job_id}"
        until(lambda: owner.get(path).json().get("status") == "completed", 20)
        assert owner.get(f"{path}/video").status_code == 307
    return {"done": done.job_id, "waiting": waiting, "endpoint": endpoint}


def _answer(client: httpx2.Client, route: Guarded, given: str) -> tuple[int, str, object]:
    """What is answered to an id, without the id and what is of the moment."""
    path = route.at(**dict.fromkeys(route.ids, given))
    answer = client.request(route.method, path)
    headers = [
        (name.lower(), value)
        for name, value in answer.headers.multi_items()
        if not name.lower().startswith(_OF_THE_MOMENT)
    ]
    body = answer.text.replace(given, "ID")
    trace = answer.json().get("trace_id")
    return answer.status_code, body.replace(str(trace), "TRACE"), sorted(headers)


@pytest.mark.parametrize(
    "route",
    [
        route
        for route in guarded()
        if route.actions[0].startswith(("jobs:", "webhooks:")) and route.ids
    ],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_another_tenants_id_is_answered_as_one_that_nobody_has(
    clients: dict[str, httpx2.Client], foreign: dict[str, str], route: Guarded
) -> None:
    for role in ("creator", "admin"):
        nobodys = _answer(clients[role], route, str(uuid.uuid4()))
        assert nobodys[0] in {404, 415, 422}
        for theirs in foreign.values():
            assert _answer(clients[role], route, theirs) == nobodys


def test_other_tenants_left_the_owners_things_as_they_were(
    edge: EdgeStack, foreign: dict[str, str]
) -> None:
    with edge.client(add_key(edge, "owner")) as owner:
        waiting = owner.get(f"/v1/jobs/{foreign['waiting']}").json()
        assert (waiting["status"], waiting["cancel_requested_at"]) == ("pending", None)
        assert owner.get(f"/v1/jobs/{foreign['done']}/video").status_code == 307
        [endpoint] = owner.get("/v1/webhooks").json()["data"]
        assert endpoint["id"] == foreign["endpoint"]
