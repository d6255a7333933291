"""``/healthz``: the process lives. ``/readyz``: it can do its work, or what keeps it from it."""

from __future__ import annotations

import asyncio
from typing import Final

from aiokafka.errors import KafkaError
from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from ingest.api.bodies import Health, Json, Readiness
from ingest.api.edge import Edge, UsesEdge
from ingest.api.problems import Problem, documented
from schemas.job import Violation

router: Final = APIRouter(tags=["health"])
_DEADLINE: Final = 3.0


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Always ok: it answers."""
    return Json({"status": "ok"})


@router.get("/readyz", response_model=Readiness, responses=documented("dependency_unavailable"))
async def readyz(edge: UsesEdge) -> Response:
    """Ok when PostgreSQL and Kafka answered within the last second."""
    wrong = await edge.readiness()
    if wrong:
        names = ", ".join(violation.field for violation in wrong)
        raise Problem("dependency_unavailable", f"Not ready: {names}.", errors=wrong)
    return Json({"status": "ready"})


async def unready(edge: Edge) -> list[Violation]:
    """What keeps the process from its work."""
    found = await asyncio.gather(_postgres(edge), _kafka(edge))
    return [violation for violation in found if violation is not None]


async def _postgres(edge: Edge) -> Violation | None:
    try:
        async with asyncio.timeout(_DEADLINE), edge.database.connect() as connection:
            await connection.execute(text("SELECT 1 FROM edge_version"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return Violation("postgres", "unreachable", f"{type(error).__name__}.")
    return None


async def _kafka(edge: Edge) -> Violation | None:
    try:
        await edge.producer.check(_DEADLINE)
    except (KafkaError, OSError, TimeoutError) as error:
        return Violation("kafka", "unreachable", f"{type(error).__name__}.")
    return None
