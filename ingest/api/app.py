"""The FastAPI application, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from infra.settings import Settings
from ingest.api import health, jobs, manifest, problems, video, webhooks
from ingest.api.boundary import Boundary
from ingest.api.edge import Edge
from ingest.store import keys


def create_app(settings: Settings) -> FastAPI:
    """The API over the given settings; its resources live as long as its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        edge = Edge(settings, health.unready)
        app.state.edge = edge
        try:
            await _bootstrap(edge)
            yield
        finally:
            await edge.close()

    app = FastAPI(
        title="Text to video",
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
        # Spans and metrics are this service's own; the framework's would quote query strings.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for part in (health, jobs, video, manifest, webhooks):
        app.include_router(part.router)
    problems.install(app)
    app.add_middleware(Boundary, most_pending=settings.http_pending)
    return app


async def _bootstrap(edge: Edge) -> None:
    key = edge.settings.bootstrap_api_key
    if key is not None:
        async with edge.database.begin() as connection:
            await keys.add(
                connection, key.get_secret_value(), edge.settings.bootstrap_tenant, "admin"
            )
