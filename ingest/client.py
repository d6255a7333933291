"""A small client of the HTTP API, as the command line uses it.

ApiError
├── Unreachable   nothing answers at the address
└── Refused       the API answered with a problem
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import httpx2

_TIMEOUT: Final = 30.0
_CHUNK: Final = 1024 * 1024


class ApiError(Exception):
    """A call did not give what was asked for; the message says what to do."""


class Unreachable(ApiError):
    """Nothing answers at the address."""


class Refused(ApiError):
    """The API answered with a problem.

    Attributes:
        problem: The problem details.
    """

    def __init__(self, problem: dict[str, Any]) -> None:
        lines = [f"{problem.get('title', 'error')}: {problem.get('detail', '')}".rstrip(": ")]
        lines += [f"  {e['field']}: {e['message']}" for e in problem.get("errors", [])]
        super().__init__("\n".join(lines))
        self.problem = problem


class Client:
    """Calls to one API with one key. Use as a context manager."""

    def __init__(self, url: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}", "User-Agent": "ttv-cli"}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT)

    @classmethod
    def of_stack(cls, data: Path) -> Self:
        """The client of TTV_URL and TTV_API_KEY, or else of the local stack in ``data``.

        Raises:
            Unreachable: there is neither.
        """
        url, key = os.environ.get("TTV_URL"), os.environ.get("TTV_API_KEY")
        if url and key:
            return cls(url, key)
        path = data / "stack.json"
        try:
            info = json.loads(path.read_text())
            return cls(str(info["http"]), str(info["api_key"]))
        except FileNotFoundError:
            raise Unreachable(
                f"no stack in {data}: start one with `ttv up`, name its folder with --data, "
                "or set TTV_URL and TTV_API_KEY"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise Unreachable(f"{path} is not a stack.json") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """One call; the JSON of its answer, {} when it has none.

        Raises:
            Unreachable, Refused.
        """
        try:
            answer = self._http.request(method, path, json=body, params=params, headers=headers)
        except httpx2.TransportError as error:
            raise Unreachable(
                f"{self._http.base_url} does not answer ({type(error).__name__}): is it up?"
            ) from error
        if answer.status_code >= 400:
            raise Refused(_problem(answer))
        return dict(answer.json()) if answer.content and answer.status_code != 307 else {}

    def submit(self, body: dict[str, Any], idempotency_key: str | None = None) -> dict[str, Any]:
        """Submit a job. Raises Unreachable, Refused."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        return self.call("POST", "/v1/jobs", body, headers=headers)

    def job(self, job_id: str) -> dict[str, Any]:
        """One job. Raises Unreachable, Refused."""
        return self.call("GET", f"/v1/jobs/{job_id}")

    def manifest(self, job_id: str) -> bytes:
        """The manifest of a finished job's video. Raises Unreachable, Refused."""
        try:
            answer = self._http.get(f"/v1/jobs/{job_id}/manifest")
        except httpx2.TransportError as error:
            raise Unreachable(f"the API does not answer ({type(error).__name__})") from error
        if answer.status_code != 200:
            raise Refused(_problem(answer))
        return answer.content

    def download(self, job_id: str, to: Path) -> Iterator[tuple[int, int]]:
        """Write the video to ``to``, which appears only when it is whole.

        Yields:
            Bytes so far, and bytes in all.

        Raises:
            Unreachable, Refused, OSError.
        """
        part = to.with_name(to.name + ".part")
        try:
            path = f"/v1/jobs/{job_id}/video"
            with self._http.stream("GET", path, params={"delivery": "stream"}) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise Refused(_problem(answer))
                total, done = int(answer.headers.get("content-length", 0)), 0
                with part.open("wb") as file:
                    for chunk in answer.iter_bytes(_CHUNK):
                        file.write(chunk)
                        done += len(chunk)
                        yield done, total
            part.replace(to)
        except httpx2.TransportError as error:
            raise Unreachable(f"the download broke off ({type(error).__name__})") from error
        finally:
            part.unlink(missing_ok=True)


def _problem(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    return {"title": f"HTTP {answer.status_code}", "code": "unexpected", "detail": "no problem"}
