from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.integration.ingest.edge_stack import EdgeStack

pytestmark = pytest.mark.stack

CANARY = "canary-prompt-5f1c"


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The answer's problem; it never quotes what was sent."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["code"] == code
    assert found["status"] == status
    assert found["type"].endswith(code)
    assert found["title"]
    assert CANARY not in answer.text
    return found


def post(api: httpx2.Client, content: bytes | Iterator[bytes], **headers: str) -> httpx2.Response:
    sent = {"content-type": "application/json"} | headers
    return api.post("/v1/jobs", content=content, headers=sent)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"prompt": NaN}',
        b'{"prompt": "x", "guidance_scale": Infinity}',
        b'{"prompt": "x", "guidance_scale": 1e999}',
        b'{"prompt": "x", "prompt": "y"}',
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "metadata": {"\\udfff": "y"}}',
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 60_000,
        b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}",
        b"\x00",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_plain_json_is_malformed(api: httpx2.Client, body: bytes) -> None:
    problem(post(api, body), 400, "malformed_body")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", "848"),
        ("width", 848.5),
        ("width", 100_000),
        ("width", 850),
        ("height", 3),
        ("num_frames", 7.5),
        ("num_frames", 8),
        ("num_frames", True),
        ("num_inference_steps", -1),
        ("guidance_scale", "4"),
        ("guidance_scale", -0.1),
        ("seed", 2**63),
        ("seed", -1),
        ("priority", "urgent"),
        ("pool", "nowhere"),
        ("job_id", "not-a-uuid"),
        ("expires_at", "tomorrow"),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "9999-12-31T23:59:59-14:00"),
        ("expires_at", 1),
        ("retention_s", 1),
        ("webhook_url", "ftp://example.com"),
        ("webhook_url", "http://user:pw@example.com"),
        ("metadata", {"k": 1}),
        ("metadata", ["k"]),
        ("metadata", {str(n): "x" for n in range(17)}),
        ("tenant_id", "other"),
        ("unknown", 1),
    ],
)
def test_a_field_that_breaks_a_rule_is_named(api: httpx2.Client, field: str, value: Any) -> None:
    answer = api.post("/v1/jobs", json={"prompt": CANARY, field: value})
    errors = problem(answer, 422, "invalid_request")["errors"]
    assert {error["field"].partition(".")[0] for error in errors} == {field}
    assert all(error["code"] and error["message"] for error in errors)


@pytest.mark.parametrize("prompt", ["", " \n", "x" * 8193, "a\x00b", "a\x1bb", 7, None])
def test_a_prompt_that_breaks_a_rule_is_refused(api: httpx2.Client, prompt: Any) -> None:
    errors = problem(api.post("/v1/jobs", json={"prompt": prompt}), 422, "invalid_request")[
        "errors"
    ]
    assert [error["field"] for error in errors] == ["prompt"]


def test_many_unknown_fields_give_a_short_answer(api: httpx2.Client) -> None:
    body = {"prompt": CANARY} | {f"{n}\r\n<b>": 0 for n in range(4000)}
    answer = api.post("/v1/jobs", json=body)
    assert len(problem(answer, 422, "invalid_request")["errors"]) <= 20
    assert len(answer.content) < 10_000


def test_a_body_over_64_kib_is_refused_declared_or_chunked(api: httpx2.Client) -> None:
    big = json.dumps({"prompt": "x" * 1_048_576}).encode()
    problem(post(api, big), 413, "body_too_large")

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(big), 8192):
            yield big[start : start + 8192]

    try:
        answer = post(api, chunks())
    except httpx2.TransportError:
        return  # the connection was closed while the rest was being sent
    problem(answer, 413, "body_too_large")


def test_a_hundred_thousand_keys_are_refused(api: httpx2.Client) -> None:
    body = json.dumps({str(n): n for n in range(100_000)}).encode()
    problem(post(api, body), 413, "body_too_large")


def test_only_plain_json_is_taken(api: httpx2.Client) -> None:
    body = b'{"prompt": "x"}'
    for media in ("text/plain", "application/x-www-form-urlencoded", ""):
        problem(post(api, body, **{"content-type": media}), 415, "unsupported_media_type")
    problem(post(api, body, **{"content-encoding": "gzip"}), 415, "unsupported_media_type")


def test_unknown_routes_methods_and_ids_are_problems(api: httpx2.Client) -> None:
    problem(api.get("/nowhere"), 404, "not_found")
    problem(api.get("/v1/jobs/"), 404, "not_found")
    problem(api.delete("/v1/jobs"), 405, "method_not_allowed")
    for job_id in ("x", "%00", "..%2f..", "9" * 500, "00000000-0000-4000-8000-000000000000"):
        problem(api.get(f"/v1/jobs/{job_id}"), 404, "not_found")
    problem(api.get("/v1/jobs", params={"limit": "0"}), 422, "invalid_request")
    problem(api.get("/v1/jobs", params={"status": CANARY}), 422, "invalid_request")


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_an_idempotency_key_has_a_sane_length(api: httpx2.Client, key: str) -> None:
    answer = api.post("/v1/jobs", json={"prompt": "x"}, headers={"Idempotency-Key": key})
    problem(answer, 422, "invalid_request")


def test_garbage_on_the_socket_leaves_the_api_serving(edge: EdgeStack, api: httpx2.Client) -> None:
    for sent in (
        b"\x16\x03\x01\x02\x00garbage",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as raw:
            raw.sendall(sent)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass
    assert api.get("/healthz").status_code == 200


def test_no_prompt_reaches_a_log(edge: EdgeStack, api: httpx2.Client) -> None:
    api.post("/v1/jobs", json={"prompt": CANARY})
    api.post("/v1/jobs", json={"prompt": CANARY, "width": 1})
    post(api, b'{"prompt": "' + CANARY.encode())
    assert api.get("/v1/jobs").status_code == 200
    for path in edge.folder.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
