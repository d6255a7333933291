from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from ingest.identity.public_key import ALGORITHMS, keys_of
from ingest.identity.token import (
    MAX_LENGTH,
    Claims,
    ClockSkew,
    InvalidToken,
    Rules,
    is_token,
    read,
    verify,
)
from tests.support.issuing import (
    AUDIENCE,
    ISSUER,
    NOW,
    AnyKey,
    claims,
    new_key,
    public,
    signed,
    unsigned,
)

RULES = Rules(AUDIENCE, 30.0, "tenant_id", "role")
EC = new_key("ES256")
RSA = new_key("RS256")
KEYS = {"keys": [public(EC, "k1"), public(RSA, "r1")]}


def check(token: str, rules: Rules = RULES, key_set: dict[str, Any] = KEYS) -> Claims:
    said = read(token)
    key = keys_of(key_set).get(said.key_id)
    if key is None:
        raise InvalidToken("unknown_key", "")
    return verify(token, said, key, rules, NOW)


def refused(token: str, rules: Rules = RULES, key_set: dict[str, Any] = KEYS) -> str:
    assert is_token(token)
    with pytest.raises(InvalidToken) as caught:
        check(token, rules, key_set)
    assert str(caught.value).endswith("."), "says what to do"
    return caught.value.why


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token_proves_its_claims(algorithm: str) -> None:
    key = new_key(algorithm)
    token = signed(key, claims(), algorithm)
    proven = check(token, key_set={"keys": [public(key, "k1")]})
    assert proven == Claims(ISSUER, "user-1", "acme", "creator", NOW - 10, NOW + 300)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 1, "HS256", "foo"])
def test_a_token_without_a_signature_proves_nothing(algorithm: object) -> None:
    header = {"alg": algorithm, "kid": "k1"}
    assert refused(unsigned(header, claims())) == "algorithm"


def test_a_token_that_leaves_its_signature_out_proves_nothing() -> None:
    head, body, _ = signed(EC, claims()).split(".")
    assert refused(f"{head}.{body}.") == "signature"


@pytest.mark.parametrize("secret", ["pem", "json", "modulus"])
def test_what_is_public_signs_nothing(secret: str) -> None:
    bytes_of = {
        "pem": RSA.as_pem(private=False),
        "json": json.dumps(public(RSA, "r1")).encode(),
        "modulus": base64.urlsafe_b64decode(str(RSA.as_dict()["n"]) + "=="),
    }
    head, body, _ = unsigned({"alg": "HS256", "kid": "r1"}, claims()).split(".")
    mac = hmac.new(bytes_of[secret], f"{head}.{body}".encode(), hashlib.sha256).digest()
    token = f"{head}.{body}." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    assert refused(token) == "algorithm"


def test_a_symmetric_key_in_a_key_set_is_no_key() -> None:
    secret = {
        "kty": "oct",
        "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0",
        "kid": "k1",
        "alg": "HS256",
    }
    assert keys_of({"keys": [secret]}) == {}


def test_a_key_verifies_only_what_it_is_for() -> None:
    for key_id, algorithm in (("k1", "RS256"), ("r1", "ES256"), ("k1", "ES384")):
        assert refused(unsigned({"alg": algorithm, "kid": key_id}, claims(), b"x")) == "algorithm"
    only = {"keys": [public(RSA, "r1", alg="PS256")]}
    assert refused(signed(RSA, claims(), "RS256", "r1"), key_set=only) == "algorithm"
    assert check(signed(RSA, claims(), "PS256", "r1"), key_set=only).subject == "user-1"


@pytest.mark.parametrize(
    "head",
    [
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"jwk": public(EC, "k1")},
        {"jku": "https://evil.example.com/jwks"},
        {"x5u": "https://evil.example.com/cert"},
        {"x5c": ["MIIB"]},
        {"kid": None},
        {"kid": ""},
        {"kid": "k" * 256},
        {"kid": ["k1"]},
        {"typ": "JOSE"},
        {"typ": "logout+jwt"},
    ],
)
def test_a_header_names_a_key_and_brings_none(head: dict[str, Any]) -> None:
    header = {"alg": "ES256", "kid": "k1", **head}
    assert refused(unsigned(header, claims(), b"x" * 64)) == "header"


def test_a_token_signed_with_another_key_or_changed_proves_nothing() -> None:
    assert refused(signed(new_key(), claims())) == "signature"
    head, _, tail = signed(EC, claims()).split(".")
    _, body, _ = signed(EC, claims(role="admin")).split(".")
    assert refused(f"{head}.{body}.{tail}") == "signature"


def test_an_expired_token_is_refused_and_one_within_the_leeway_is_not() -> None:
    assert refused(signed(EC, claims(exp=int(NOW) - 30))) == "expired"
    assert check(signed(EC, claims(exp=int(NOW) - 29))).subject == "user-1"


def test_a_token_that_is_not_valid_yet_is_refused() -> None:
    assert refused(signed(EC, claims(nbf=int(NOW) + 31))) == "not_yet"
    assert check(signed(EC, claims(nbf=int(NOW) + 30))).subject == "user-1"


def test_a_token_from_the_future_says_by_how_much_clocks_differ() -> None:
    assert check(signed(EC, claims(iat=int(NOW) + 30))).issued_at == NOW + 30
    with pytest.raises(ClockSkew) as caught:
        check(signed(EC, claims(iat=int(NOW) + 90)))
    assert (caught.value.seconds, caught.value.issuer) == (90, ISSUER)


def test_a_token_from_the_future_that_nobody_signed_says_nothing_of_clocks() -> None:
    assert refused(signed(new_key(), claims(iat=int(NOW) + 90))) == "signature"


@pytest.mark.parametrize(
    "audience", ["other", ["other", "ttv2"], [], None, {"ttv": 1}, 7, [["ttv"]]]
)
def test_a_token_for_another_audience_is_refused(audience: object) -> None:
    assert refused(signed(EC, claims(aud=audience))) == "audience"


def test_one_of_several_audiences_is_enough() -> None:
    assert check(signed(EC, claims(aud=["other", "ttv"]))).subject == "user-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"iat": None},
        {"exp": "4000000000"},
        {"exp": True},
        {"exp": 1e15},
        {"iat": -1},
        {"nbf": "x"},
        {"sub": None},
        {"sub": ""},
        {"sub": "s" * 256},
        {"sub": 7},
        {"tenant_id": None},
        {"tenant_id": "../acme"},
        {"tenant_id": ["acme"]},
        {"role": None},
        {"role": "root"},
        {"role": {"admin": True}},
        {"role": []},
    ],
)
def test_a_claim_that_is_missing_or_malformed_refuses_the_token(changes: dict[str, Any]) -> None:
    assert refused(signed(EC, claims(**changes))) == "claims"


def test_the_strongest_known_role_of_a_list_counts() -> None:
    token = signed(EC, claims(role=["offline_access", "operator", "viewer"]))
    assert check(token).role == "operator"


def test_claims_are_found_by_name_or_by_path() -> None:
    rules = Rules(AUDIENCE, 30.0, "https://example.com/tenant", "realm_access.roles")
    content = claims(
        **{"https://example.com/tenant": "acme2", "realm_access": {"roles": ["admin"]}}
    )
    proven = check(signed(EC, content), rules)
    assert (proven.tenant_id, proven.role) == ("acme2", "admin")
    assert refused(signed(EC, claims(realm_access="x")), rules) == "claims"


@pytest.mark.parametrize(
    "token",
    [
        "ey..",
        "eyJ.eyJ.x",
        "ey\u00e9.e30.x",
        "e30.e30.",
        "eyJhbGciOiJFUzI1NiIsImFsZyI6Im5vbmUifQ.e30.",  # alg twice
        "eyJhIjoxfQ.W10.",
        "ey" + "A" * MAX_LENGTH + "..",
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        check(token)


def test_deep_nesting_and_endless_numbers_are_refused() -> None:
    for payload in ("[" * 4000, '{"exp":' + "9" * 4000 + "}"):
        body = base64.urlsafe_b64encode(payload.encode()).rstrip(b"=").decode()
        head = unsigned({"alg": "ES256", "kid": "k1"}, {}).split(".")[0]
        with pytest.raises(InvalidToken):
            check(f"{head}.{body}.eA")


@pytest.mark.parametrize(
    "credential", ["ttv_6fa4591c20be_abc", "a.b.c", "", "ey.", "eyJ.x.y.z.w", "local"]
)
def test_an_api_key_is_no_token(credential: str) -> None:
    assert not is_token(credential)


def _without(key: AnyKey, *names: str) -> dict[str, Any]:
    return {name: value for name, value in public(key, "k1").items() if name not in names}


@pytest.mark.parametrize(
    "jwk",
    [
        _without(EC, "kid"),
        _without(EC, "kty"),
        _without(EC, "x"),
        _without(EC, "crv"),
        public(EC, "k1", use="enc"),
        public(EC, "k1", key_ops=["sign"]),
        public(EC, "k1", key_ops="verify"),
        public(EC, "k1", alg="HS256"),
        public(EC, "k1", alg="RS256"),
        public(EC, "k1", crv="secp256k1"),
        public(EC, "k1", x="AAAA"),
        public(EC, "k" * 256),
        public(RSA, "k1", n="AQAB"),
        public(RSA, "k1", n="!"),
        public(RSA, "k1", e="A" * 400),
        {"kty": ["RSA"], "kid": "k1"},
        "k1",
        None,
    ],
)
def test_a_key_that_cannot_be_used_is_left_out(jwk: object) -> None:
    good = public(EC, "k2")
    assert list(keys_of({"keys": [jwk, good]})) == ["k2"]


def _number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_an_rsa_key_that_is_weak_or_slow_to_verify_with_is_left_out() -> None:
    sizes = {"weak": (1 << 1023) + 1, "fair": (1 << 2047) + 1, "huge": (1 << 16383) + 1}
    keys = [{"kty": "RSA", "kid": k, "n": _number(n), "e": "AQAB"} for k, n in sizes.items()]
    slow = {"kty": "RSA", "kid": "slow", "n": keys[1]["n"], "e": _number((1 << 32) + 1)}
    assert list(keys_of({"keys": [*keys, slow]})) == ["fair"]


def test_two_keys_under_one_id_are_both_left_out() -> None:
    assert list(keys_of({"keys": [public(EC, "k1"), public(RSA, "k1"), public(EC, "k2")]})) == [
        "k2"
    ]


@pytest.mark.parametrize("key_set", [{}, {"keys": None}, {"keys": {}}, {"keys": "k1"}])
def test_what_is_no_key_set_has_no_keys(key_set: dict[str, Any]) -> None:
    assert keys_of(key_set) == {}
