"""A JSON Web Token read and checked: signature, algorithm, claims. Pure; the clock is an argument.

The header of a token is written by whoever sends it. It may name a key by its id, and nothing else:
the key says which algorithms it is for, and keys that come with the token are refused (RFC 8725).

InvalidToken    the token proves nothing; its message says what to do
└── ClockSkew   it was issued later than now: some clock is wrong
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError

from ingest.identity.policy import ROLES, Role
from ingest.identity.public_key import ALGORITHMS, PublicKey, registry
from ingest.strict_json import MalformedJson, parse_object
from schemas.job import valid_tenant

MAX_LENGTH: Final = 8192
_MAX_ID: Final = 255
#: Header parameters that bring a key along, or name where one is to be had.
_BRINGS_A_KEY: Final = frozenset({"jwk", "jku", "x5c", "x5u"})
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
#: Beyond this a number is no time.
_MAX_TIME: Final = 1e11


class InvalidToken(Exception):
    """The token proves nothing.

    Attributes:
        why: A short name, for metrics.
    """

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class ClockSkew(InvalidToken):
    """The token was issued later than now, by more than clocks may differ.

    Attributes:
        seconds: By how much.
        issuer: Whose token it is: its signature has been checked.
    """

    def __init__(self, seconds: float, issuer: str) -> None:
        super().__init__(
            "clock_skew",
            f"It was issued {seconds:.0f} s in the future: set the clock of the identity provider.",
        )
        self.seconds = seconds
        self.issuer = issuer


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must be.

    Attributes:
        audience: Must be among its ``aud``.
        leeway: Seconds by which clocks may differ.
        tenant_claim: Claim that names the tenant; dots lead into objects.
        role_claim: Claim that names the role, or a list whose strongest known role counts.
    """

    audience: str
    leeway: float
    tenant_claim: str
    role_claim: str


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself, to find the key that it must be signed with."""

    algorithm: str
    key_id: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token proves. ``issued_at`` is in seconds since 1970."""

    issuer: str
    subject: str
    tenant_id: str
    role: Role
    issued_at: float


def is_token(credential: str) -> bool:
    """Whether a credential has the shape of a token: API keys hold no dots."""
    return credential.count(".") == 2 and credential.startswith("ey")


def read(token: str) -> Unverified:
    """What the token says of itself. Nothing is proven yet.

    Raises:
        InvalidToken: it is malformed, or of a kind that is never accepted.
    """
    if len(token) > MAX_LENGTH:
        raise InvalidToken("malformed", f"It is longer than {MAX_LENGTH} bytes.")
    header, payload, _ = token.split(".")
    head = _object(header)
    if "crit" in head or _BRINGS_A_KEY & head.keys():
        raise InvalidToken("header", "Its header has crit, jwk, jku, x5c or x5u, which is refused.")
    algorithm, key_id = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidToken("algorithm", f"Sign it with one of {', '.join(ALGORITHMS)}.")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= _MAX_ID:
        raise InvalidToken("header", "Its header names no key: set kid.")
    if str(head.get("typ", "JWT")).lower() not in _TYPES:
        raise InvalidToken("header", "Its typ is neither JWT nor at+jwt.")
    return Unverified(algorithm, key_id, str(_object(payload).get("iss", "")))


def verify(token: str, said: Unverified, key: PublicKey, rules: Rules, now: float) -> Claims:
    """What the token proves.

    Args:
        token: As it came.
        said: Of :func:`read`.
        key: The key of that id, from that issuer.
        rules: What it must be.
        now: Seconds since 1970.

    Raises:
        InvalidToken, ClockSkew.
    """
    if said.algorithm not in key.algorithms:
        raise InvalidToken("algorithm", f"Its key is not for {said.algorithm}.")
    try:
        signed = jws.deserialize_compact(token, key.key, registry=registry(said.algorithm))
    except (JoseError, ValueError, TypeError):
        raise InvalidToken("signature", "Its signature does not fit its key.") from None
    claims = _parsed(signed.payload)
    _check_audience(claims.get("aud"), rules.audience)
    issued_at = _check_times(claims, said.issuer, rules.leeway, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_ID:
        raise InvalidToken("claims", "It has no sub.")
    tenant_id = _tenant(_claim(claims, rules.tenant_claim), rules.tenant_claim)
    role = _role(_claim(claims, rules.role_claim), rules.role_claim)
    return Claims(said.issuer, subject, tenant_id, role, issued_at)


def _object(part: str) -> dict[str, Any]:
    try:
        raw = part.encode("ascii")
        return _parsed(
            base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        )
    except (UnicodeEncodeError, binascii.Error):
        raise InvalidToken("malformed", "It is not base64url.") from None


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        return parse_object(content)
    except MalformedJson as error:
        raise InvalidToken("malformed", f"Malformed JSON: {error}.") from None


def _check_audience(named: object, audience: str) -> None:
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or audience not in named:
        raise InvalidToken("audience", "It is for another audience: ask for a token for this API.")


def _check_times(claims: dict[str, Any], issuer: str, leeway: float, now: float) -> float:
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    if issued > now + leeway:
        raise ClockSkew(issued - now, issuer)
    if "nbf" in claims and _time(claims, "nbf") > now + leeway:
        raise InvalidToken("not_yet", "It is not valid yet: wait until its nbf.")
    if expires <= now - leeway:
        raise InvalidToken("expired", "It has expired: get a new one.")
    return issued


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise InvalidToken("claims", f"It has no {name}, or one that is no number.")
    if not 0 <= value <= _MAX_TIME:
        raise InvalidToken("claims", f"Its {name} is no time.")
    return float(value)


def _claim(claims: dict[str, Any], path: str) -> object:
    """A claim by its name, or else by a path of names with dots between."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _tenant(value: object, claim: str) -> str:
    if not isinstance(value, str) or not valid_tenant(value):
        raise InvalidToken("claims", f"Its claim {claim} names no tenant.")
    return value


def _role(value: object, claim: str) -> Role:
    named = value if isinstance(value, list) else [value]
    held = [role for role in ROLES if role in named]
    if not held:
        raise InvalidToken("claims", f"Its claim {claim} names no role: {', '.join(ROLES)}.")
    return held[-1]  # ROLES goes from the weakest to the strongest
