"""A small identity provider on 127.0.0.1: a discovery document, a key set, and keys that rotate."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.issuing import claims, new_key, public, signed

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/jwks"
MOVED = "/moved"


class IdentityProvider:
    """Serves its documents until it is closed. Use as a context manager.

    Attributes:
        fetched: How often each path was asked for.
        misbehave: If set, answers instead; what returns True leaves the answer to the provider.
        padding: Spaces after each document.
        zipped: Whether documents are sent compressed.
    """

    def __init__(self) -> None:
        self.fetched: Counter[str] = Counter()
        self.misbehave: Callable[[BaseHTTPRequestHandler], bool | None] | None = None
        self.padding = 0
        self.zipped = False
        self._keys = {"k1": new_key()}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.discovery: dict[str, Any] = {"issuer": self.url, "jwks_uri": self.url + JWKS}
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def key_set(self) -> dict[str, Any]:
        """What it publishes."""
        return {"keys": [public(key, key_id) for key_id, key in self._keys.items()]}

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on, and withdraw those before."""
        self._keys = {key_id: new_key()}

    def token(self, **changes: Any) -> str:
        """A token that is good now, but for ``changes`` to its claims (None leaves one out)."""
        now = int(time.time())
        content = claims(**{"iss": self.url, "iat": now, "exp": now + 300} | changes)
        [(key_id, key)] = self._keys.items()
        return signed(key, content, key_id=key_id)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.fetched[handler.path] += 1
        if self.misbehave is not None and not self.misbehave(handler):
            return
        documents = {DISCOVERY: self.discovery, MOVED: self.discovery, JWKS: self.key_set}
        found = documents.get(handler.path)
        content = json.dumps(found).encode() + b" " * self.padding
        handler.send_response(404 if found is None else 200)
        if self.zipped:
            content = gzip.compress(content)
            handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        with contextlib.suppress(OSError):  # whoever asked may have given up
            handler.wfile.write(content)
