"""No route without a policy: the router is walked, so that nobody has to remember."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from infra.settings import Settings
from ingest.api.app import create_app
from ingest.api.edge import ReadsJobs
from tests.support.routes import PUBLIC, Guarded, guarded, routes


@pytest.mark.parametrize("route", guarded(), ids=lambda route: f"{route.method} {route.path}")
def test_a_route_has_exactly_one_policy(route: Guarded) -> None:
    assert len(route.actions) == 1, "give it Allowed(...), or list it as public"


def test_what_is_public_is_there_and_asks_nobody() -> None:
    open_ones = [route for route in routes() if route.path in PUBLIC]
    assert {route.path for route in open_ones} == PUBLIC
    assert not any(route.actions for route in open_ones)


#: Whose rights each family of routes needs: a new family is written down here, too.
FAMILIES = {
    "jobs": "jobs",
    "events": "jobs",
    "videos": "jobs",
    "webhooks": "webhooks",
    "keys": "keys",
    "revocations": "keys",
    "tenants": "tenants",
    "dead-letters": "letters",
}


def test_a_family_of_routes_needs_rights_of_its_own_kind() -> None:
    for route in guarded():
        family = route.path.split("/")[2]
        assert route.actions[0].split(":")[0] == FAMILIES.get(family), route


#: Routes with a body that change nothing.
ASKS_ONLY: frozenset[str] = frozenset()


def test_what_changes_something_needs_the_right_to_and_what_reads_does_not() -> None:
    for route in guarded():
        reads = route.method in {"GET", "HEAD"} or route.path in ASKS_ONLY
        assert reads == route.actions[0].endswith(":read"), route


def _app_with_bad_routes() -> FastAPI:
    app = create_app(Settings())
    inner = APIRouter(prefix="/v1/inner")

    @inner.get("/forgotten")
    async def forgotten() -> str:
        return ""

    @inner.get("/hidden", include_in_schema=False)
    async def hidden() -> str:
        return ""

    @inner.get("/good")
    async def good(identity: ReadsJobs) -> str:
        return identity.role

    outer = APIRouter()
    outer.include_router(inner)
    app.include_router(outer)
    app.mount("/mounted", Starlette(routes=[Route("/x", PlainTextResponse(""))]))
    return app


def test_the_walk_finds_forgotten_hidden_and_mounted_routes() -> None:
    known = {route.path for route in routes()}
    new = {route.path: route.actions for route in routes(_app_with_bad_routes())}
    added = {path: actions for path, actions in new.items() if path not in known}
    assert added == {
        "/v1/inner/forgotten": (),
        "/v1/inner/hidden": (),
        "/v1/inner/good": ("jobs:read",),
        "/mounted": (),
    }
