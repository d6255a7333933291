"""The FastAPI application, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from infra.settings import Settings
from ingest.api import (
    batch,
    deletion,
    deliveries,
    estimate,
    events,
    health,
    jobs,
    keys,
    letters,
    listing,
    manifest,
    openapi,
    previews,
    problems,
    revocations,
    self_description,
    tenants,
    video,
    videos,
    webhooks,
)
from ingest.api.boundary import Boundary
from ingest.api.deprecation import DEPRECATED, Deprecation, Deprecations
from ingest.api.edge import Edge
from ingest.store.keys import add


def create_app(settings: Settings, deprecated: Mapping[str, Deprecation] = DEPRECATED) -> FastAPI:
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
        openapi_url=None,
        redirect_slashes=False,
        # Spans and metrics are this service's own; the framework's would quote query strings.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    for part in (
        health,
        self_description,
        batch,
        estimate,
        jobs,
        events,
        listing,
        deletion,
        video,
        manifest,
        previews,
        videos,
        webhooks,
        deliveries,
        letters,
        keys,
        revocations,
        tenants,
    ):
        app.include_router(part.router)
    problems.install(app)
    _describe(app, settings, deprecated)
    if deprecated:
        app.add_middleware(Deprecations, deprecated)
    app.add_middleware(Boundary, most_pending=settings.http_pending)
    return app


def _describe(app: FastAPI, settings: Settings, deprecated: Mapping[str, Deprecation]) -> None:
    """Have ``app`` describe itself as ``ingest/api/openapi.py`` does, once."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.document(app, settings, deprecated)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign] # FastAPI's documented way


async def _bootstrap(edge: Edge) -> None:
    key = edge.settings.bootstrap_api_key
    if key is not None:
        async with edge.database.begin() as connection:
            await add(connection, key.get_secret_value(), edge.settings.bootstrap_tenant, "admin")
