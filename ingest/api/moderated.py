"""The prompt checks on the way in: a blocked prompt is refused, and the audit is told."""

from __future__ import annotations

from ingest.api.edge import Edge
from ingest.api.problems import Problem
from ingest.identity.audit import Kind
from ingest.moderation import Finding
from ingest.store import audit
from schemas.records import JobRequested


async def allow(edge: Edge, request: JobRequested, actor: str) -> None:
    """Let a request pass whose prompts may be rendered.

    Args:
        edge: The process's resources.
        request: Breaks no rule.
        actor: Who asks, as the audit names them.

    Raises:
        Problem: prompt_blocked, without a word of the prompt; dependency_unavailable when
            moderation failed and must not.
    """
    found = await edge.moderation.check(request)
    if found.details:
        await _tell(edge, request, actor, found)
    if found.outcome == "blocked":
        raise Problem("prompt_blocked")
    if not found.allowed:
        raise Problem("dependency_unavailable", "Moderation does not answer.")


async def _tell(edge: Edge, request: JobRequested, actor: str, found: Finding) -> None:
    kind: Kind = "prompt.blocked" if found.outcome == "blocked" else "prompt.outlier"
    async with edge.connection() as connection:
        await audit.note(
            connection,
            kind,
            actor,
            request.tenant_id,
            request.job_id,
            "seen" if found.allowed else "refused",
            found.details,
        )
