"""The public keys of an issuer, from its JSON Web Key Set: each bound to what it may verify. Pure.

Symmetric keys are never taken, so that nobody can sign with what is public (RFC 8725, 2.1).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

#: The algorithms that are accepted, each with the type and the curve of its keys.
ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "Ed25519": ("OKP", "Ed25519"),
    "EdDSA": ("OKP", "Ed25519"),
}
#: What makes a public key of each type; all else in a JWK is left behind.
_PUBLIC: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_RSA_BYTES: Final = range(256, 1025)
_MAX_EXPONENT_BYTES: Final = 4
_MAX_KEYS: Final = 100
_MAX_ID: Final = 255


@dataclass(frozen=True)
class PublicKey:
    """A key of an issuer, and the algorithms that it may verify."""

    key: RSAKey | ECKey | OKPKey
    algorithms: frozenset[str]


class _OneAlgorithm(JWSRegistry):
    """Verifies one algorithm; others do not exist for it.

    joserfc's own look-up warns of ``EdDSA``, whose new name many issuers do not use yet.
    """

    def get_alg(self, name: str) -> Any:
        assert name in (self.allowed or ())  # noqa: S101 the header has been read before
        return self.algorithms[name]


def registry(algorithm: str) -> JWSRegistry:
    """What verifies ``algorithm`` and no other."""
    return _OneAlgorithm(algorithms=[algorithm], strict_check_header=False)


def keys_of(key_set: Mapping[str, Any]) -> dict[str, PublicKey]:
    """The usable keys of a key set, by id: what cannot be used is left out.

    Two keys under one id are left out, too: a token could not say which of them it means.
    """
    listed = key_set.get("keys")
    found: dict[str, PublicKey] = {}
    ambiguous: set[str] = set()
    for jwk in listed[:_MAX_KEYS] if isinstance(listed, list) else []:
        key_id = jwk.get("kid") if isinstance(jwk, dict) else None
        if not isinstance(key_id, str) or not 1 <= len(key_id) <= _MAX_ID:
            continue
        key = _key(jwk)
        if key_id in found:
            ambiguous.add(key_id)
        elif key is not None:
            found[key_id] = key
    return {key_id: key for key_id, key in found.items() if key_id not in ambiguous}


def _key(jwk: dict[str, Any]) -> PublicKey | None:
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if not isinstance(kind, str) or kind not in _PUBLIC or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    fitting = frozenset(
        name for name, (of, on) in ALGORITHMS.items() if of == kind and on in {None, curve}
    )
    if "alg" in jwk:
        fitting &= {str(jwk["alg"])}
    values = {name: jwk.get(name) for name in _PUBLIC[kind]}
    if not fitting or not all(isinstance(value, str) for value in values.values()):
        return None
    if kind == "RSA" and not _sound_rsa(str(values["n"]), str(values["e"])):
        return None
    try:
        key = import_key({"kty": kind, **{name: str(value) for name, value in values.items()}})
    except (JoseError, ValueError, TypeError):
        return None
    return PublicKey(key, fitting) if isinstance(key, RSAKey | ECKey | OKPKey) else None


def _sound_rsa(modulus: str, exponent: str) -> bool:
    """2,048 to 8,192 bits, and an exponent that is quick to verify with."""
    try:
        sizes = [
            len(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).lstrip(b"\0"))
            for value in (modulus, exponent)
        ]
    except (binascii.Error, ValueError):
        return False
    return sizes[0] in _RSA_BYTES and 1 <= sizes[1] <= _MAX_EXPONENT_BYTES
