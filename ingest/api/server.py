"""The connection under the API: what uvicorn's own protocol leaves without a bound gets one.

uvicorn closes idle connections, and the application bounds a body's size and time. Between them,
here: how many connections there are, how long the head of a request may take (slowloris), how long
a body that nobody reads may go on, and how long a reader may take nothing of its answer. A request
that is no HTTP is answered as a problem like every other error.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from ingest.api.problems import Problem, answer
from ingest.metrics import REFUSED_CONNECTIONS

#: Seconds from a request's first byte (or the connection, for the first) to the end of its head.
HEAD_SECONDS: Final = 10.0
#: Seconds that what is left of a body may take once the request has been answered.
LINGER_SECONDS: Final = 5.0
#: Seconds that a client may take nothing of an answer that waits for it.
READER_SECONDS: Final = 60.0
#: Bytes of a head that has not ended yet; ingest/api/heads.py bounds those that have.
MAX_UNFINISHED_HEAD: Final = 32 * 1024
#: Connections that the kernel keeps until they are accepted.
BACKLOG: Final = 512


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with deadlines, and a bound on connections.

    ``config.limit_concurrency`` is that bound here: a connection over it is answered 503 at once
    and closed, before a byte of it is read.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_connections, self.limit_concurrency = self.limit_concurrency, None
        self._deadline: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        if self._most_connections is not None and len(self.connections) > self._most_connections:
            self._end("full", "overloaded")
            return
        self._arm(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._disarm()
        self._reads()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: the first of a request start its clock, the last of a head stop it."""
        if self.transport.is_closing():
            return
        idle = self.conn.their_state is h11.IDLE
        if idle and self._deadline is None:
            self._arm(HEAD_SECONDS)
        super().data_received(data)
        if idle and self.conn.their_state is not h11.IDLE:
            self._disarm()
        elif not idle and self.conn.their_state is h11.IDLE:
            # The rest of a body that nobody read has ended: the connection is idle only now.
            self._arm(self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        """The answer is out; a body that still comes has a moment to end."""
        self._disarm()
        unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if unread and not self.transport.is_closing():
            self._arm(LINGER_SECONDS)

    def pause_writing(self) -> None:
        """The client takes its answer too slowly."""
        super().pause_writing()
        if self._reader is None:
            self._reader = self.loop.call_later(READER_SECONDS, self._abort)

    def resume_writing(self) -> None:
        """The client has taken what waited."""
        self._reads()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; ``msg`` is uvicorn's, and not shown."""
        del msg
        self._end("malformed", "malformed_request")

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _reads(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE:
            if self.conn.trailing_data[0]:
                self._end("slow_head", "request_timeout")
            else:
                self.transport.close()
        else:
            REFUSED_CONNECTIONS.labels("slow_body").inc()
            self.transport.close()

    def _abort(self) -> None:
        self._reader = None
        REFUSED_CONNECTIONS.labels("slow_reader").inc()
        self.transport.abort()

    def _end(self, why: str, code: str) -> None:
        REFUSED_CONNECTIONS.labels(why).inc()
        self._disarm()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:  # no answer has begun
            self.transport.write(_wire(Problem(code)))
        self.transport.close()


def _wire(problem: Problem) -> bytes:
    response = answer(problem, {"Connection": "close"})
    head = [b"HTTP/1.1 %d %s" % (response.status_code, STATUS_PHRASES[response.status_code])]
    head += [b"%s: %s" % (name, value) for name, value in response.raw_headers]
    return b"\r\n".join([*head, b"", bytes(response.body)])
