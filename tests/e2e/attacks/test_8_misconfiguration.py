"""API8: the protocol bent, odd paths and methods, and what errors tell."""

from __future__ import annotations

import httpx2
import pytest

from infra.stack import Stack
from tests.e2e.attacks.conftest import Raw
from tests.support.api import SMALL, Api

HOST = b"host: 127.0.0.1\r\n"
HIDDEN = b"GET /v1/keys HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: 5\r\ncontent-length: 50\r\n",
        b"content-length: +5\r\n",
        b"content-length: 5, 5\r\ncontent-length: 6\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding:\x0bchunked\r\n",
        b"x: y\r\n folded\r\ncontent-length : 5\r\n",
        b"x\x00y: z\r\n",
        b"\r\nx: y\r\n",
    ],
    ids=range(11),
)
def test_a_request_of_two_lengths_is_read_once_or_not_at_all(raw: Raw, head: bytes) -> None:
    answer = raw(b"POST /v1/jobs HTTP/1.1\r\n" + HOST + head + b"\r\n0\r\n\r\n" + HIDDEN)
    statuses = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1")]
    assert all(status[9:10] == b"4" for status in statuses), answer
    assert b'"data"' not in answer


@pytest.mark.parametrize(
    "path",
    [
        b"/../../etc/passwd",
        b"/v1/jobs/../../../etc/passwd",
        b"/v1/jobs/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        b"/v1/jobs/..%5c..%5cetc",
        b"/v1/jobs/%00",
        b"/v1/jobs/%ff%fe",
        b"//v1/keys",
        b"/v1/./keys",
        b"/v1/jobs/;/v1/keys",
        b"http://169.254.169.254/latest/meta-data/",
        b"*",
    ],
    ids=range(11),
)
def test_an_odd_path_leads_nowhere(raw: Raw, path: bytes) -> None:
    answer = raw(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 404")), answer
    assert b"root:" not in answer


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT", b"PROPFIND", b"FOO", b"GET\x00"])
def test_an_odd_method_is_refused(raw: Raw, method: bytes) -> None:
    answer = raw(
        method + b" /v1/jobs HTTP/1.1\r\n" + HOST + b"connection: close\r\nx-canary: c4n4ry\r\n\r\n"
    )
    assert answer[9:10] == b"4" or answer == b""
    assert b"c4n4ry" not in answer


def test_line_breaks_in_names_split_no_header(api: Api) -> None:
    metadata = {"a\r\nset-cookie: x=1": "b\r\nset-cookie: y=1"}
    answer = api.http.post("/v1/jobs", json={"prompt": "a fox", **SMALL, "metadata": metadata})
    assert "set-cookie" not in answer.headers
    split = api.http.get("/v1/jobs/%0d%0aset-cookie:%20x=1/video")
    assert split.status_code == 404
    assert "set-cookie" not in split.headers


def test_a_host_of_the_clients_choice_is_not_passed_on(api: Api) -> None:
    answer = api.http.get("/v1/jobs?limit=1", headers={"host": "evil.example"})
    assert "evil.example" not in answer.text


def test_no_page_of_another_origin_may_read_answers(stack: Stack) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    for method in ("OPTIONS", "GET"):
        answer = httpx2.request(method, f"{stack.info.http}/v1/jobs", headers=headers, timeout=30)
        assert "access-control-allow-origin" not in answer.headers


def test_an_error_tells_nothing_of_the_inside(api: Api) -> None:
    for answer in (
        api.http.get("/v1/jobs/' OR 1=1 --"),
        api.http.post("/v1/jobs", content=b"\xff", headers={"content-type": "application/json"}),
        api.http.get("/v1/jobs?cursor=AAAA"),
    ):
        assert answer.status_code in {400, 404, 422}
        for word in ("Traceback", "asyncpg", "sqlalchemy", "SELECT", ".py"):
            assert word not in answer.text
        assert "server" not in answer.headers
