from __future__ import annotations

import pytest
from pydantic import ValidationError

from infra.settings import Settings, safe_key_url


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example.com",
        "https://a.b/realms/x/",
        "http://127.0.0.1:9",
        "http://[::1]:9/x",
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: str) -> None:
    assert safe_key_url(url)
    assert Settings(oidc_issuers=url).oidc_issuer_urls == (url,)


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com",
        "http://127.0.0.1.example.com",
        "https://",
        "https://user:pw@login.example.com",
        "https://login.example.com/#x",
        "file:///etc/passwd",
        "login.example.com",
    ],
)
def test_keys_come_from_nowhere_else(url: str) -> None:
    assert not safe_key_url(url)
    with pytest.raises(ValidationError):
        Settings(oidc_issuers=f"https://good.example.com,{url}")
    with pytest.raises(ValidationError):
        Settings(oidc_issuers="https://good.example.com", oidc_jwks_url=url)


def test_issuers_are_told_apart_by_commas_and_one_alone_may_have_a_given_key_set() -> None:
    two = "https://a.example.com , https://b.example.com,"
    assert Settings(oidc_issuers=two).oidc_issuer_urls == (
        "https://a.example.com",
        "https://b.example.com",
    )
    assert Settings().oidc_issuer_urls == ()
    with pytest.raises(ValidationError):
        Settings(oidc_issuers=two, oidc_jwks_url="https://a.example.com/jwks")
