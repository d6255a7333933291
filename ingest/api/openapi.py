"""The OpenAPI document: ``python -m ingest.api.openapi`` writes ``ingest/openapi.json``.

FastAPI knows routes, parameters and models. What it does not know is added here, once, for all
routes: problem details, who may call, and headers. The command refuses to write a document that
takes from clients what the released one promised, unless it is told to (``--release``).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from infra.settings import Settings
from ingest.api.deprecation import Deprecation
from ingest.api.edge import Allowed
from ingest.api.problems import MEDIA_TYPE, ProblemBody, RuleBroken, documented
from ingest.openai import errors
from schemas.job import DEFAULT_POOL

Document = dict[str, Any]

#: Where the documents lie, in the package.
COMMITTED: Final = "openapi.json"
RELEASED: Final = "openapi.released.json"

_SCHEMAS: Final = "#/components/schemas/"
#: Routes that need no credential.
PUBLIC: Final = frozenset({"/healthz", "/readyz", "/v1/openapi.json"})
#: What any route may answer with: the head of the request is no good, or too much is under way.
_ANY: Final = (
    "malformed_request",
    "request_timeout",
    "uri_too_long",
    "unsupported_media_type",
    "headers_too_large",
    "internal",
    "overloaded",
)
#: And one that takes a body.
_BODIED: Final = ("malformed_body", "body_too_large", "invalid_request")
_SECURITY: Final = {
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a JWT of an issuer that the deployment trusts.",
    },
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key.",
    },
}
_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "string", "pattern": "^[0-9]+$"}
_MADE: Final[frozenset[tuple[str, str]]] = frozenset(
    {("/v1/jobs", "202"), ("/v1/webhooks", "201"), ("/v1/keys", "201")}
)
_TAGGED: Final[frozenset[str]] = frozenset(
    {
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/video",
        "/v1/jobs/{job_id}/manifest",
        "/v1/jobs/{job_id}/thumbnail",
        "/v1/jobs/{job_id}/spritesheet",
        "/v1/videos/{video_id}/content",
    }
)
_RATES: Final = "By draft-ietf-httpapi-ratelimit-headers-11; left out where nothing is limited."


def _counted(path: str, _method: str, status: str) -> bool:
    return path not in PUBLIC and (status < "400" or status == "429")


#: Headers by name, and of which answers: a test of operation path, method and status.
_HEADERS: Final[Mapping[str, tuple[str, dict[str, Any], Callable[[str, str, str], bool]]]] = {
    "Location": (
        "Where the answer's subject is.",
        _TEXT,
        lambda path, method, status: (
            status == "307" or (method == "post" and (path, status) in _MADE)
        ),
    ),
    "ETag": (
        "Names this very content, for If-None-Match.",
        _TEXT,
        lambda path, method, status: (
            method == "get" and path in _TAGGED and status in {"200", "206", "304"}
        ),
    ),
    "Retry-After": (
        "Seconds after which to try again.",
        _WHOLE,
        lambda _path, _method, status: status in {"429", "503"},
    ),
    "WWW-Authenticate": (
        "How to authenticate.",
        _TEXT,
        lambda _path, _method, status: status == "401",
    ),
    "RateLimit": (f"What is left of the caller's limits. {_RATES}", _TEXT, _counted),
    "RateLimit-Policy": (f"The caller's limits. {_RATES}", _TEXT, _counted),
}
#: Headers that an answer may lack.
_OPTIONAL: Final = frozenset({"RateLimit", "RateLimit-Policy"})


def document(app: FastAPI, settings: Settings, deprecated: Mapping[str, Deprecation]) -> Document:
    """The document of ``app``.

    Args:
        app: With all its routes.
        settings: Say what pool jobs may name, and whose tokens may be revoked.
        deprecated: Routes on their way out; see ``ingest/api/deprecation.py``.
    """
    made = get_openapi(title=app.title, version=app.version, routes=app.routes, summary=app.summary)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemBody, RuleBroken, errors.ErrorBody, errors.ErrorDetail):
        schemas[model.__name__] = model.model_json_schema(ref_template=_SCHEMAS + "{model}")
        schemas[model.__name__].pop("$defs", None)
    made["components"]["securitySchemes"] = _SECURITY
    made["security"] = [{name: []} for name in _SECURITY]
    guards = _guards(app)
    for path, method, operation in operations(made):
        _describe(path, method, operation, guards.get((path, method), ()))
        operation["deprecated"] = f"{method.upper()} {path}" in deprecated or None
        _hoist(operation, schemas)
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _present(parameter["schema"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _name_deployment(schemas, settings)
    made["components"]["schemas"] = dict(sorted(schemas.items()))
    plain: Document = _plain(made)
    return plain


def operations(of: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and content of every operation in a document."""
    for path, item in of["paths"].items():
        for method, operation in item.items():
            if method in {"get", "put", "post", "delete", "patch", "head", "options", "trace"}:
                yield path, method, operation


def _guards(app: FastAPI) -> dict[tuple[str, str], tuple[str, ...]]:
    """By path and method: what a route may answer with because it asks who calls."""
    return {
        (str(route.path), method.lower()): allowed.codes
        for route in iter_route_contexts(app.routes)
        for allowed in _asked_by(getattr(route, "dependant", None))
        for method in route.methods or ()
    }


def _asked_by(dependant: Any) -> Iterator[Allowed]:
    for inner in getattr(dependant, "dependencies", ()):
        if isinstance(inner.call, Allowed):
            yield inner.call
        yield from _asked_by(inner)


def _describe(path: str, method: str, operation: dict[str, Any], guard: tuple[str, ...]) -> None:
    """Errors that any route may answer with, who may call it, and the headers of its answers."""
    operation["operationId"] = re.sub(r"_v1_.*|_(healthz|readyz)_.*", "", operation["operationId"])
    responses = operation["responses"]
    if MEDIA_TYPE not in responses.get("422", {}).get("content", {}):
        responses.pop("422", None)
    if path in PUBLIC:
        operation["security"] = []
    shape = errors.described if errors.owns(path) else documented
    for status, common in shape(*_ANY, *guard, *_of_input(operation)).items():
        known = responses.setdefault(str(status), common)
        for line in common["description"].split(". "):
            code = line.split("`")[1]
            if f"`{code}`" not in known["description"]:
                known["description"] += f" {line.rstrip('.')}."
    for status, answer in responses.items():
        if status < "400" and answer.get("content") == {"application/json": {"schema": {}}}:
            del answer["content"]
        for name, (says, schema, of) in _HEADERS.items():
            if of(path, method, status):
                told = {"description": says, "required": name not in _OPTIONAL, "schema": schema}
                answer.setdefault("headers", {})[name] = told
    operation["responses"] = dict(sorted(responses.items()))


def _of_input(operation: dict[str, Any]) -> tuple[str, ...]:
    """What an operation may answer with because of what it is sent."""
    if "requestBody" in operation:
        return _BODIED
    named = any(of["in"] != "path" for of in operation.get("parameters", ()))
    return ("invalid_request",) if named else ()


def _hoist(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Put the model of a body that a route reads itself where the others are."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        if "$ref" in schema or "title" not in schema:
            continue
        for name, inner in schema.pop("$defs", {}).items():
            schemas[name] = _moved(inner)
        schemas[schema["title"]] = _moved(schema)
        content["schema"] = {"$ref": _SCHEMAS + schema["title"]}


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that is there: null stands for one that is not."""
    some = [variant for variant in schema.get("anyOf", []) if variant != {"type": "null"}]
    if len(some) != 1:
        return schema
    present: dict[str, Any] = dict(some[0])
    return present | {name: value for name, value in schema.items() if name != "anyOf"}


def _moved(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            name: value.replace("#/$defs/", _SCHEMAS) if name == "$ref" else _moved(value)
            for name, value in schema.items()
        }
    return [_moved(item) for item in schema] if isinstance(schema, list) else schema


def _name_deployment(schemas: dict[str, Any], settings: Settings) -> None:
    """Have requests name the pool and the issuers that this deployment has."""
    for variant in schemas["SubmitBody"]["properties"]["pool"]["anyOf"]:
        if variant.get("enum") == [DEFAULT_POOL]:
            variant["enum"] = [settings.pool]
    if settings.oidc_issuer_urls:
        schemas["RevocationBody"]["properties"]["issuer"]["enum"] = list(settings.oidc_issuer_urls)


def _plain(value: Any) -> Any:
    """Without members that say nothing: nulls outside enums and examples, and pydantic's titles."""
    if isinstance(value, dict):
        titled = isinstance(value.get("title"), str) and ("type" in value or "anyOf" in value)
        return {
            name: _plain(item)
            for name, item in value.items()
            if not (name == "title" and titled) and not (name == "deprecated" and item is None)
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


def text_of(of: Document) -> str:
    """A document as its file holds it."""
    return json.dumps(of, indent=1, ensure_ascii=False) + "\n"


def read(name: str) -> Document:
    """A document of the package, :data:`COMMITTED` or :data:`RELEASED`."""
    found: Document = json.loads((files("ingest") / name).read_text())
    return found


def current() -> Document:
    """The document of the code as it is, with the default settings."""
    from ingest.api.app import create_app  # noqa: PLC0415 the application serves this document

    found: Document = create_app(Settings.model_construct()).openapi()
    return found


def main(arguments: list[str]) -> None:
    """Write the committed document; with ``--release`` the released one too, whatever it breaks."""
    from ingest.api.compatibility import broken  # noqa: PLC0415 for the command alone

    folder = Path(str(files("ingest")))
    made, release = current(), arguments == ["--release"]
    if arguments and not release:
        sys.exit("usage: python -m ingest.api.openapi [--release]")
    if not release and (wrong := broken(read(RELEASED), made)):
        sys.exit("clients of the released document would break:\n" + "\n".join(wrong))
    for name in (COMMITTED, RELEASED) if release else (COMMITTED,):
        (folder / name).write_text(text_of(made))


if __name__ == "__main__":
    main(sys.argv[1:])
