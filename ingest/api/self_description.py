"""``GET /v1/openapi.json``: what the API says of itself."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ingest.api.bodies import Json

router: Final = APIRouter(tags=["meta"])


class DocumentInfo(BaseModel):
    """Of the API."""

    model_config = ConfigDict(extra="allow")

    title: str = Field(description="Its name.")
    version: str = Field(description="Its version.")


class OperationObject(BaseModel):
    """One operation, by OpenAPI's Operation Object."""

    model_config = ConfigDict(extra="allow")

    operationId: str = Field(description="Its name.")  # noqa: N815 OpenAPI's


class PathItem(BaseModel):
    """The operations of one path, by OpenAPI's Path Item Object."""

    model_config = ConfigDict(extra="forbid")

    get: OperationObject | None = Field(None, description="Reads.")
    put: OperationObject | None = Field(None, description="Replaces.")
    post: OperationObject | None = Field(None, description="Makes or does.")
    patch: OperationObject | None = Field(None, description="Changes.")
    delete: OperationObject | None = Field(None, description="Removes.")


class OpenApiDocument(BaseModel):
    """An OpenAPI 3.1 document; what is not named here is by that specification."""

    model_config = ConfigDict(extra="allow")

    openapi: str = Field(description="The specification's version.")
    info: DocumentInfo = Field(description="Of the API.")
    paths: dict[str, PathItem] = Field(description="Its operations, by path.")


@router.get("/v1/openapi.json", response_model=OpenApiDocument)
async def get_openapi(request: Request) -> Response:
    """This document."""
    described: dict[str, Any] = request.app.openapi()
    return Json(described)
