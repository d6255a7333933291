"""``/v1/keys``: API keys of all tenants, for those who run the deployment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from ingest.api.body import described, read_body
from ingest.api.edge import ReadsKeys, UsesEdge, WritesKeys
from ingest.api.key_bodies import KeyBody, KeyMade, KeyPage, KeyShown, RightsBody, RotateBody
from ingest.api.path_ids import KeyId
from ingest.api.problems import Problem, documented
from ingest.identity.api_key import new_secret
from ingest.identity.caller import Identity
from ingest.identity.policy import Action, Role, granted, permits
from ingest.store import audit
from ingest.store import issued_keys as store
from schemas.job import TENANT, Violation, canonical_job_id

router: Final = APIRouter(prefix="/v1/keys", tags=["keys"])


def _shown(row: Mapping[Any, Any]) -> KeyShown:
    names = KeyShown.model_fields.keys() - {"id"}
    return KeyShown.model_validate({name: row[name] for name in names} | {"id": str(row["key_id"])})


def _made(row: Mapping[Any, Any], secret: str, response: Response) -> KeyMade:
    response.headers["Cache-Control"] = "no-store"
    return KeyMade(**_shown(row).model_dump(), key=secret)


def _key_uuid(text: str) -> uuid.UUID:
    key_id = canonical_job_id(text)
    if key_id is None:
        raise Problem("not_found")
    return uuid.UUID(key_id)


def _check_scopes(role: Role, scopes: Sequence[Action] | None) -> list[Action] | None:
    """The scopes, once each. Raises Problem when the role may not do one of them."""
    beyond = [scope for scope in scopes or () if not permits(role, scope)]
    if beyond:
        wrong = Violation("scopes", "beyond_role", f"A {role} may not do {beyond[0]}.")
        raise Problem("invalid_request", errors=[wrong])
    return None if scopes is None else sorted(set(scopes))


def _check_grant(identity: Identity, role: str, scopes: Sequence[str] | None) -> None:
    """Raise Problem when a key may do what its giver may not: scopes would limit nothing."""
    if not granted(role, scopes) <= granted(identity.role, identity.scopes):
        raise Problem("forbidden", "Give no key more than your own key may do.")


async def _locked(connection: AsyncConnection, key_id: uuid.UUID) -> RowMapping:
    """The key, locked. Raises Problem: not_found, or key_ended when no secret of it is valid."""
    row = await store.lock(connection, key_id)
    if row is None:
        raise Problem("not_found")
    if not await store.alive(connection, key_id):
        raise Problem("key_ended")
    return row


@router.post(
    "",
    status_code=201,
    response_model=KeyMade,
    openapi_extra=described(KeyBody),
)
async def create_key(
    request: Request, response: Response, edge: UsesEdge, identity: WritesKeys
) -> KeyMade:
    """Make a key. The answer alone holds its secret: keep it."""
    body = await read_body(request, KeyBody)
    scopes = _check_scopes(body.role, body.scopes)
    _check_grant(identity, body.role, scopes)
    key_id = uuid.uuid4()
    secret = new_secret(key_id)
    async with edge.connection() as connection:
        row = await store.create(
            connection,
            key_id,
            secret,
            body.tenant_id,
            body.role,
            body.name,
            scopes,
            body.expires_in_s,
        )
        details = _rights(body.role, scopes)
        await audit.note(
            connection, "key.created", identity.actor, body.tenant_id, str(key_id), details=details
        )
    response.headers["Location"] = f"/v1/keys/{key_id}"
    return _made(row, secret, response)


def _rights(role: str, scopes: Sequence[str] | None) -> dict[str, str]:
    return {"role": role, "scopes": "all" if scopes is None else " ".join(scopes)}


@router.get("", response_model=KeyPage)
async def list_keys(
    edge: UsesEdge,
    identity: ReadsKeys,
    tenant_id: Annotated[str | None, Query(pattern=TENANT, description="Of this tenant.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
    cursor: Annotated[uuid.UUID | None, Query(description="The next_cursor of a page.")] = None,
) -> KeyPage:
    """The keys of a tenant or of all, revoked and expired ones too; never a secret."""
    del identity
    async with edge.connection() as connection:
        rows = await store.page(connection, tenant_id, cursor, limit + 1)
    following = str(rows[limit - 1]["key_id"]) if len(rows) > limit else None
    return KeyPage(data=[_shown(row) for row in rows[:limit]], next_cursor=following)


@router.get("/{key_id}", response_model=KeyShown, responses=documented("not_found"))
async def get_key(key_id: KeyId, edge: UsesEdge, identity: ReadsKeys) -> KeyShown:
    """One key, without its secret."""
    del identity
    async with edge.connection() as connection:
        row = await store.get(connection, _key_uuid(key_id))
    if row is None:
        raise Problem("not_found")
    return _shown(row)


@router.put(
    "/{key_id}/rights",
    response_model=KeyShown,
    openapi_extra=described(RightsBody),
    responses=documented("not_found", "key_ended"),
)
async def change_key(
    request: Request, key_id: KeyId, edge: UsesEdge, identity: WritesKeys
) -> KeyShown:
    """Set what a key may do: its next request is judged by it, its running jobs go on."""
    found = _key_uuid(key_id)
    body = await read_body(request, RightsBody)
    scopes = _check_scopes(body.role, body.scopes)
    _check_grant(identity, body.role, scopes)
    async with edge.connection() as connection:
        before = await _locked(connection, found)
        await store.change(connection, found, body.role, scopes)
        old = {f"{k}_before": v for k, v in _rights(before["role"], before["scopes"]).items()}
        details = old | _rights(body.role, scopes)
        tenant_id = before["tenant_id"]
        await audit.note(
            connection, "role.changed", identity.actor, tenant_id, str(found), details=details
        )
        row = await store.get(connection, found)
    return _shown(row or before)


@router.post(
    "/{key_id}/rotate",
    response_model=KeyMade,
    openapi_extra=described(RotateBody),
    responses=documented("not_found", "key_ended"),
)
async def rotate_key(
    request: Request, response: Response, key_id: KeyId, edge: UsesEdge, identity: WritesKeys
) -> KeyMade:
    """Give the key a new secret, shown in this answer alone; the old one stays for the overlap."""
    found = _key_uuid(key_id)
    body = await read_body(request, RotateBody)
    secret = new_secret(found)
    async with edge.connection() as connection:
        key = await _locked(connection, found)
        _check_grant(identity, key["role"], key["scopes"])
        await store.rotate(connection, key, secret, body.overlap_s, body.expires_in_s)
        await audit.note(
            connection,
            "key.rotated",
            identity.actor,
            key["tenant_id"],
            str(found),
            details={"overlap_s": str(body.overlap_s)},
        )
        row = await store.get(connection, found)
    return _made(row or key, secret, response)


@router.post("/{key_id}/revoke", response_model=KeyShown, responses=documented("not_found"))
async def revoke_key(key_id: KeyId, edge: UsesEdge, identity: WritesKeys) -> KeyShown:
    """End the key at once and for good, all its secrets; again, it does nothing. Its jobs go on."""
    found = _key_uuid(key_id)
    async with edge.connection() as connection:
        key = await store.lock(connection, found)
        if key is None:
            raise Problem("not_found")
        if await store.revoke(connection, found):
            await audit.note(
                connection, "key.revoked", identity.actor, key["tenant_id"], str(found)
            )
        row = await store.get(connection, found)
    return _shown(row or key)
