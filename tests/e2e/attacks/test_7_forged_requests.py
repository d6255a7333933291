"""API7: addresses that the service is to call for somebody (SSRF)."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.support.api import SMALL, Api, fresh_id
from tests.support.wait import until


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "ftp://127.0.0.1/",
        "http://user:password@127.0.0.1:9999/",
        "http://127.0.0.1:9999/\r\nx-injected: 1",
        "http:///nowhere",
        "//127.0.0.1:9999/",
        "javascript:alert(1)",
        "http://127.0.0.1:70000/",
    ],
)
def test_a_target_that_is_no_web_address_is_refused(api: Api, url: str) -> None:
    body = {"prompt": "a fox", **SMALL, "webhook_url": url, "job_id": fresh_id()}
    assert api.http.post("/v1/jobs", json=body).status_code == 422
    assert api.http.post("/v1/webhooks", json={"url": url}).status_code == 422


@pytest.mark.parametrize("port", [22, 25, 2379, 5432, 6379, 9092])
def test_a_port_of_another_protocol_is_refused(api: Api, port: int) -> None:
    answer = api.http.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{port}/"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "forbidden_port"


def test_a_receiver_cannot_send_the_service_elsewhere(api: Api) -> None:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.path)
            here = f"{base}/elsewhere"
            there = "http://169.254.169.254/latest/meta-data/"
            self.send_response(307)
            self.send_header("Location", here if "here" in self.path else there)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        for path in ("here", "there"):
            job = api.submit(webhook_url=f"{base}/{path}")
            api.await_status(job, "completed")
        until(lambda: {"/here", "/there"} <= set(seen), 30, lambda: str(seen))
        assert "/elsewhere" not in seen
    finally:
        server.shutdown()
        server.server_close()


def test_a_picture_to_begin_with_is_not_fetched(api: Api) -> None:
    body = {"prompt": "a fox", "input_reference": {"image_url": "http://169.254.169.254/"}}
    answer = api.http.post("/v1/videos", json=body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
