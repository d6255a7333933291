"""The routes that the service documents, to be walked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx2

_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Route:
    """A method on a path template."""

    method: str
    path: str

    def parameters(self) -> list[str]:
        """Names of the template's parameters."""
        return _PARAMETER.findall(self.path)

    def at(self, values: Mapping[str, str]) -> str:
        """The path with its parameters filled in."""
        return _PARAMETER.sub(lambda found: values[found[1]], self.path)


def documented_routes(client: httpx2.Client) -> Iterator[Route]:
    """Every route of the OpenAPI document."""
    document = client.get("/v1/openapi.json").json()
    for path, item in document["paths"].items():
        for method in item:
            if method in {"get", "post", "put", "patch", "delete"}:
                yield Route(method.upper(), path)
