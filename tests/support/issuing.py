"""Tokens as an identity provider, or an attacker, makes them."""

from __future__ import annotations

import base64
import json
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from ingest.identity.public_key import ALGORITHMS, registry

AnyKey = RSAKey | ECKey | OKPKey | OctKey

ISSUER = "https://login.example.com"
AUDIENCE = "ttv"
NOW = 1_800_000_000.0


def new_key(algorithm: str = "ES256") -> RSAKey | ECKey | OKPKey:
    """A private key for ``algorithm``."""
    kind, curve = ALGORITHMS[algorithm]
    if kind == "RSA":
        return RSAKey.generate_key(2048)
    if kind == "EC":
        return ECKey.generate_key(curve)
    return OKPKey.generate_key(curve)  # type: ignore[arg-type]


def public(key: AnyKey, key_id: str, **members: Any) -> dict[str, Any]:
    """The public JWK of a key."""
    return {**key.as_dict(private=False), "kid": key_id, **members}


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token; a change to None leaves one out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 300,
        "tenant_id": "acme",
        "role": "creator",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(
    key: AnyKey, content: dict[str, Any], algorithm: str = "ES256", key_id: str = "k1", **head: Any
) -> str:
    """A token signed with ``key``; ``head`` adds to its header."""
    header = {"alg": algorithm, "kid": key_id, "typ": "JWT", **head}
    header = {name: value for name, value in header.items() if value is not None}
    payload = json.dumps(content).encode()
    return jws.serialize_compact(header, payload, key, registry=registry(algorithm))


def unsigned(header: dict[str, Any], content: dict[str, Any], signature: bytes = b"") -> str:
    """A token as anyone can write it."""
    parts = (json.dumps(header).encode(), json.dumps(content).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
