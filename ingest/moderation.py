"""Whether a prompt may be rendered: the block list, then the deployment's own moderation.

The deployment's is a coroutine function that ``TTV_MODERATION`` names as ``module:name``::

    async def moderate(texts: Sequence[str], tenant_id: str) -> bool: ...  # True: may be rendered

It has a deadline, a breaker, and when it fails, ``TTV_MODERATION_FAIL_OPEN`` says whether prompts
pass. Admission applies the block list to every record; the function is asked over HTTP alone.
"""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from infra.prompts.block_list import block_list
from infra.prompts.outliers import digest, oddities
from infra.settings import Settings
from infra.telemetry import log
from ingest.metrics import PROMPTS
from ingest.overload.bulkhead import Bulkhead
from ingest.overload.dependency import Dependency, Unavailable
from schemas.records import JobRequested

Moderate = Callable[[Sequence[str], str], Awaitable[bool]]
Outcome = Literal["passed", "blocked", "unchecked"]

#: Prompts that are with the deployment's moderation at once.
_AT_ONCE: Final = 64


class BadModeration(ValueError):
    """What ``TTV_MODERATION`` names is not there, or cannot be called."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the checks found in one request's prompts.

    Attributes:
        outcome: passed, blocked, or unchecked: moderation failed.
        allowed: Whether the job may go on.
        details: For the audit, empty when there is nothing to tell: a keyed digest, the length and
            what is odd. Never the prompt.
    """

    outcome: Outcome
    allowed: bool
    details: dict[str, str]


class Moderation:
    """The checks of one API process.

    Raises:
        BadModeration: the settings name no coroutine function.
        infra.prompts.block_list.BadBlockList, OSError: the block list cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._blocked = block_list(settings)
        self._ask = _named(settings.moderation) if settings.moderation else None
        self._fail_open = settings.moderation_fail_open
        self._key = settings.audit_key.get_secret_value().encode() or secrets.token_bytes(32)
        self._guard = Dependency(
            "moderation",
            lambda _: True,
            settings.moderation_deadline,
            bulkhead=Bulkhead(_AT_ONCE, 4 * _AT_ONCE, settings.moderation_deadline),
        )

    async def check(self, request: JobRequested) -> Finding:
        """Look at the prompts of a request that breaks no rule."""
        texts = [text for text in (request.prompt, request.negative_prompt) if text]
        outcome: Outcome = "passed"
        if self._blocked.blocks(*texts):
            outcome = "blocked"
        elif self._ask is not None:
            outcome = await self._moderated(self._ask, texts, request.tenant_id)
        PROMPTS.labels(outcome).inc()
        odd = sorted({oddity for text in texts for oddity in oddities(text)})
        if odd:
            PROMPTS.labels("outlier").inc()
        allowed = outcome == "passed" or (outcome == "unchecked" and self._fail_open)
        told = odd or outcome != "passed"
        return Finding(outcome, allowed, self._details(request, outcome, odd) if told else {})

    async def _moderated(self, ask: Moderate, texts: Sequence[str], tenant_id: str) -> Outcome:
        try:
            async with self._guard.use():
                return "passed" if await ask(texts, tenant_id) is True else "blocked"
        except Unavailable:
            return "unchecked"
        except Exception as error:  # noqa: BLE001 whatever a deployment's code raises
            # Its words may quote the prompt: the type alone is said.
            log().error("moderation.failed", error=type(error).__name__)
            return "unchecked"

    def _details(
        self, request: JobRequested, outcome: Outcome, odd: Sequence[str]
    ) -> dict[str, str]:
        return {
            "outcome": outcome,
            "digest": digest(self._key, request.prompt),
            "characters": str(len(request.prompt)),
            "oddities": " ".join(odd),
        }


def _named(path: str) -> Moderate:
    module, _, name = path.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadModeration(f"TTV_MODERATION={path}: {error}") from error
    if not callable(found):
        raise BadModeration(f"TTV_MODERATION={path} cannot be called")
    moderate: Moderate = found
    return moderate
