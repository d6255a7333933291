"""Where requests are counted: an address before it has signed in, a caller once it is known."""

from __future__ import annotations

from fastapi import Request

from infra.rates import RequestClass
from ingest.api.boundary import ANSWER_HEADERS
from ingest.api.problems import Problem
from ingest.identity.policy import Action
from ingest.limiter.limiter import Limiter, Verdict
from ingest.limiter.rules import Caller


def class_of(action: Action) -> RequestClass:
    """What a request to do ``action`` counts as, if its route says nothing else."""
    return "read" if action.endswith(":read") else "write"


async def before_sign_in(request: Request, limiter: Limiter) -> None:
    """Turn away an address that keeps failing to sign in, before anything is asked about it.

    Raises:
        Problem: rate_limited.
    """
    blocked = await limiter.peer_blocked(_address(request))
    if blocked is not None:
        _refuse(request, blocked)


async def failed_sign_in(request: Request, limiter: Limiter) -> Problem:
    """Count a failed sign-in; the problem to raise."""
    await limiter.sign_in_failed(_address(request))
    return Problem("unauthenticated")


async def count(
    request: Request, limiter: Limiter, caller: Caller, kind: RequestClass, cost: int = 1
) -> None:
    """Count a request of a known caller; its answer gets the RateLimit headers.

    Raises:
        Problem: rate_limited.
    """
    verdict = await limiter.judge(caller, kind, request.headers, cost=cost)
    if verdict.limited:
        _refuse(request, verdict)
    request.scope[ANSWER_HEADERS] = verdict.headers


def _address(request: Request) -> str:
    return "" if request.client is None else request.client.host


def _refuse(request: Request, verdict: Verdict) -> None:
    request.scope[ANSWER_HEADERS] = verdict.headers
    raise Problem("rate_limited", retry_after=verdict.retry_after)
