"""The routes of the API as its router has them, each with the action that its policy names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from infra.settings import Settings
from ingest.api.app import create_app
from ingest.api.edge import Allowed
from ingest.identity.policy import Action

#: What anyone may ask: whether the service lives, and what its routes are.
PUBLIC = frozenset({"/healthz", "/readyz", "/v1/openapi.json"})


@dataclass(frozen=True)
class Guarded:
    """One method of one route; ``actions`` are those of its policies, of which it needs one."""

    method: str
    path: str
    actions: tuple[Action, ...]

    def at(self, **ids: str) -> str:
        """Its path with ids filled in; an id that is not given is one that nobody has."""
        path = self.path
        for name in self.ids:
            path = path.replace(f"{{{name}}}", ids.get(name, _NOBODYS))
        return path

    @property
    def ids(self) -> list[str]:
        """The names in its path."""
        return [part.split("}")[0] for part in self.path.split("{")[1:]]


_NOBODYS = "01234567-89ab-4cde-8f01-23456789abcd"


def routes(app: FastAPI | None = None) -> list[Guarded]:
    """Every method of every route, hidden and mounted ones too."""
    found = []
    for route in iter_route_contexts((app or create_app(Settings())).routes):
        path = str(getattr(route, "path", None) or f"an unknown {type(route).__name__}")
        # A policy that several dependencies of a route ask for is one policy.
        actions = tuple(dict.fromkeys(_actions(getattr(route, "dependant", None))))
        methods = getattr(route, "methods", None) or {"any"}
        found += [Guarded(method, path, actions) for method in sorted(methods)]
    return found


def _actions(dependant: Any) -> Iterator[Action]:
    for inner in getattr(dependant, "dependencies", ()):
        if isinstance(inner.call, Allowed):
            yield inner.call.action
        else:
            yield from _actions(inner)


def guarded() -> list[Guarded]:
    """The routes that ask who calls."""
    return [route for route in routes() if route.path not in PUBLIC]
