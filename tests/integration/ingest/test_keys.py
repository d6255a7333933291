from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from schemas.records import AuditEvent
from tests.integration.ingest.edge_stack import EdgeStack
from tests.integration.ingest.reading import records
from tests.support.wait import until

pytestmark = pytest.mark.stack


def make(api: httpx2.Client, **fields: Any) -> dict[str, Any]:
    body = {"tenant_id": f"t{uuid.uuid4().hex[:8]}", "role": "creator", **fields}
    answer = api.post("/v1/keys", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def status(edge: EdgeStack, key: str, method: str = "GET", path: str = "/v1/jobs") -> int:
    with edge.client(key) as client:
        return client.request(method, path).status_code


def told(edge: EdgeStack, subject: str) -> list[tuple[str, str]]:
    found = [r.value for r in records(edge, edge.topics.audit, AuditEvent)]
    return [(event.kind, event.actor) for event in found if event.subject == subject]


def test_a_keys_life_from_its_making_to_its_revocation(edge: EdgeStack, api: httpx2.Client) -> None:
    made = make(api, tenant_id="acme", name="render farm")
    assert made["key"].startswith(made["prefix"] + "_")
    assert status(edge, made["key"]) == 200
    shown = api.get(f"/v1/keys/{made['id']}").json()
    assert shown["name"] == "render farm"
    assert shown["last_used_at"] is not None
    rotated = api.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_s": 3600}).json()
    assert rotated["id"] == made["id"]
    assert rotated["earlier_valid_until"] is not None
    assert [status(edge, made["key"]), status(edge, rotated["key"])] == [200, 200]
    final = api.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_s": 0}).json()
    assert [status(edge, key) for key in (made["key"], rotated["key"], final["key"])] == [
        200,
        401,
        200,
    ]
    for _ in range(2):
        ended = api.post(f"/v1/keys/{made['id']}/revoke")
        assert (ended.status_code, ended.json()["revoked_at"] is not None) == (200, True)
    assert [status(edge, key) for key in (made["key"], final["key"])] == [401, 401]
    again = api.post(f"/v1/keys/{made['id']}/rotate", json={})
    assert (again.status_code, again.json()["code"]) == (409, "key_ended")
    until(lambda: len(told(edge, made["id"])) >= 4)
    events = told(edge, made["id"])
    assert [kind for kind, _ in events] == [
        "key.created",
        "key.rotated",
        "key.rotated",
        "key.revoked",
    ]
    [admin] = edge.sql(
        "SELECT key_id FROM api_keys WHERE prefix IS NULL ORDER BY created_at LIMIT 1"
    )
    assert {actor for _, actor in events} == {f"key:{admin['key_id']}"}


def test_secrets_are_nowhere_but_in_the_answers_that_make_them(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    made = make(api, tenant_id="secretive")
    pages = api.get("/v1/keys", params={"tenant_id": "secretive"})
    assert [key["id"] for key in pages.json()["data"]] == [made["id"]]
    tail = made["key"].removeprefix(made["prefix"])
    stored = str(edge.sql("SELECT * FROM api_keys")) + str(edge.sql("SELECT * FROM audit_outbox"))
    assert tail not in stored + pages.text + api.get(f"/v1/keys/{made['id']}").text
    for log in edge.folder.glob("*.log"):
        assert tail not in log.read_text()


def test_an_expired_key_is_refused_and_a_scoped_one_is_limited(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    brief = make(api, expires_in_s=60)
    assert status(edge, brief["key"]) == 200
    edge.sql("UPDATE api_keys SET expires_at = now() WHERE key_id = $1", uuid.UUID(brief["id"]))
    assert status(edge, brief["key"]) == 401
    scoped = make(api, scopes=["jobs:read"])
    assert status(edge, scoped["key"]) == 200
    assert status(edge, scoped["key"], "POST") == 403
    assert status(edge, scoped["key"], path="/v1/webhooks") == 403


def test_a_key_gives_nobody_more_than_it_may_do(edge: EdgeStack, api: httpx2.Client) -> None:
    scopes = ["jobs:read", "keys:write"]
    giver, strong = make(api, role="admin", scopes=scopes), make(api, role="admin")
    with edge.client(giver["key"]) as client:
        body = {"tenant_id": "t", "role": "admin"}
        assert client.post("/v1/keys", json=body).status_code == 403
        assert client.post("/v1/keys", json=body | {"scopes": scopes}).status_code == 201
        assert client.post(f"/v1/keys/{strong['id']}/rotate", json={}).status_code == 403
        rights = client.put(f"/v1/keys/{giver['id']}/rights", json={"role": "admin"})
        assert rights.status_code == 403
    assert status(edge, strong["key"]) == 200


def test_a_role_that_changes_counts_from_the_next_request_on_and_its_job_goes_on(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    made = make(api)
    with edge.client(made["key"]) as client:
        job = client.post("/v1/jobs", json={"prompt": "goes on"}).json()
        changed = api.put(f"/v1/keys/{made['id']}/rights", json={"role": "viewer"})
        assert (changed.status_code, changed.json()["role"]) == (200, "viewer")
        refused = client.post("/v1/jobs", json={"prompt": "no more"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
        assert client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 403
        found = client.get(f"/v1/jobs/{job['id']}").json()
        assert (found["status"], found["cancel_requested_at"]) == ("pending", None)
    until(lambda: "role.changed" in [kind for kind, _ in told(edge, made["id"])])


def test_a_caller_that_is_denied_again_and_again_is_told_of_once(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    made = make(api, role="viewer")
    for _ in range(5):
        assert status(edge, made["key"], path="/v1/keys") == 403

    def denials() -> list[AuditEvent]:
        found = [r.value for r in records(edge, edge.topics.audit, AuditEvent)]
        return [e for e in found if e.actor == f"key:{made['id']}" and e.kind == "access.denied"]

    until(lambda: bool(denials()))
    [event] = denials()
    assert (event.outcome, event.tenant_id) == ("refused", made["tenant_id"])
    assert event.details == {"action": "keys:read", "role": "viewer"}


def test_rotations_at_once_leave_one_current_secret_and_every_one_given_is_valid(
    edge: EdgeStack, api: httpx2.Client
) -> None:
    made = make(api)

    def rotate(_: int) -> httpx2.Response:
        return api.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_s": 600})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(rotate, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    secrets = [answer.json()["key"] for answer in answers]
    assert [status(edge, key) for key in secrets] == [200] * 8
    current = edge.sql(
        "SELECT 1 FROM api_keys WHERE key_id = $1 AND superseded_at IS NULL",
        uuid.UUID(made["id"]),
    )
    assert len(current) == 1


def test_keys_are_listed_page_by_page(api: httpx2.Client) -> None:
    made = {make(api, tenant_id="paged")["id"] for _ in range(5)}
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        query = {"tenant_id": "paged", "limit": "2", **cursor}
        page = api.get("/v1/keys", params=query).json()
        found += [key["id"] for key in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == sorted(made)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "root"}, "role"),
        ({"tenant_id": "../x"}, "tenant_id"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["keys:write"]}, "scopes"),
        ({"scopes": ["everything"]}, "scopes.0"),
        ({"expires_in_s": 1}, "expires_in_s"),
        ({"expires_in_s": "60"}, "expires_in_s"),
        ({"name": "x" * 101}, "name"),
        ({"key": "mine"}, "key"),
    ],
)
def test_a_key_that_breaks_a_rule_is_not_made(
    api: httpx2.Client, body: dict[str, Any], field: str
) -> None:
    answer = api.post("/v1/keys", json={"tenant_id": "t", "role": "creator", **body})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_an_unknown_key_is_not_found_on_every_route(api: httpx2.Client) -> None:
    for key_id in (str(uuid.uuid4()), "nonsense"):
        path = f"/v1/keys/{key_id}"
        assert api.get(path).status_code == 404
        assert api.post(f"{path}/revoke").status_code == 404
        assert api.post(f"{path}/rotate", json={}).status_code == 404
        assert api.put(f"{path}/rights", json={"role": "viewer"}).status_code == 404
