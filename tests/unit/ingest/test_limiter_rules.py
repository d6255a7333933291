from __future__ import annotations

import pytest

from infra.rates import Rates, parse
from infra.settings import Settings
from ingest.limiter.headers import rate_headers, retry_after
from ingest.limiter.limiter import limiter_of
from ingest.limiter.rules import Caller, Limits, Quota, Rule, peer_rule
from ingest.limiter.store import Taken

ALL = Rates(submit=1, write=2, read=3)
LIMITS = Limits(
    key=ALL,
    tenant=ALL,
    group=ALL,
    region=ALL,
    region_header="x-region",
    regions=frozenset({"eu", "us"}),
)
ANN = Caller("key-1", "acme", ("creator",))


def keys(caller: Caller, region: str | None = "eu") -> dict[str, str]:
    return {rule.policy: rule.key for rule in LIMITS.rules(caller, "read", region)}


def test_a_request_counts_under_key_group_region_and_tenant() -> None:
    rules = LIMITS.rules(ANN, "write", "eu")
    assert [rule.policy for rule in rules] == ["key", "group", "region", "tenant"]
    assert {rule.quota for rule in rules} == {Quota(2)}


def test_no_two_buckets_are_one() -> None:
    seen = {
        rule.key
        for caller in (ANN, Caller("acme", "key-1", ("creator",)), Caller("k", "acme\x00creator"))
        for kind in ("submit", "write", "read")
        for region in ("eu", "us", "creator")
        for rule in LIMITS.rules(caller, kind, region)
    }
    # 3 keys, 2 groups, 9 regions and 3 tenants, in 3 classes.
    assert len(seen) == 3 * (3 + 2 + 9 + 3)


def test_groups_and_regions_lie_within_a_tenant() -> None:
    mine, theirs = keys(ANN), keys(Caller("key-2", "umbrella", ("creator",)))
    assert all(mine[policy] != theirs[policy] for policy in mine)
    same_tenant = keys(Caller("key-3", "acme", ("creator",)))
    assert {policy for policy in mine if mine[policy] == same_tenant[policy]} == {
        "group",
        "region",
        "tenant",
    }


def test_a_region_is_one_of_those_that_are_known() -> None:
    assert LIMITS.region_of({"x-region": " EU "}) == "eu"
    assert LIMITS.region_of({"x-region": "mars"}) == "other"
    assert LIMITS.region_of({}) == "other"
    assert Limits(key=ALL, tenant=ALL).region_of({"x-region": "eu"}) is None


def test_a_class_without_a_rate_has_no_limit() -> None:
    limits = Limits(key=Rates(submit=5), tenant=Rates())
    assert [rule.policy for rule in limits.rules(ANN, "submit", None)] == ["key"]
    assert limits.rules(ANN, "read", None) == []


def test_a_tenants_own_limits_replace_the_deployments() -> None:
    rules = LIMITS.rules(ANN, "submit", None, own=Rates(submit=77))
    assert {rule.policy: rule.quota.limit for rule in rules}["tenant"] == 77


def test_a_token_with_many_groups_makes_few_buckets() -> None:
    many = Caller("k", "acme", [f"group-{n}" for n in range(1000)])
    assert len(LIMITS.rules(many, "read", None)) <= 6


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("", "unix", True),
    ],
)
def test_a_peer_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, *, same: bool) -> None:
    assert (peer_rule(one, 5).key == peer_rule(other, 5).key) is same


def test_headers_are_structured_fields_of_draft_11() -> None:
    judged = [
        (Rule("key", "submit", "k", Quota(10)), Taken(False, 4, 29.2, 0.0)),
        (Rule("tenant", "submit", "t", Quota(5)), Taken(True, 0, 60.0, 11.1)),
    ]
    assert rate_headers(judged) == {
        "RateLimit-Policy": '"key";q=10;w=60;pk=:c3VibWl0:, "tenant";q=5;w=60;pk=:c3VibWl0:',
        "RateLimit": '"key";r=4;t=30;pk=:c3VibWl0:, "tenant";r=0;t=12;pk=:c3VibWl0:',
    }
    assert retry_after(judged) == 12
    assert retry_after([(judged[1][0], Taken(True, 0, 0.1, 0.001))]) == 1
    assert rate_headers([]) == {}


@pytest.mark.parametrize("text", ["submit=1 submit=2", "submit", "submit=-1", "delete=1", "read=x"])
def test_a_rate_setting_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="submit=N"):
        parse(text)


def test_rates_are_read_as_they_are_written() -> None:
    assert parse("submit=1, read=3") == Rates(submit=1, read=3)
    assert parse(str(ALL)) == ALL
    assert parse("") == Rates()


async def test_the_settings_make_a_limiter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTV_LIMIT_TENANT", "submit=1")
    monkeypatch.setenv("TTV_LIMIT_KEY", "")
    monkeypatch.setenv("TTV_LIMIT_REGION", "submit=9")
    monkeypatch.setenv("TTV_LIMIT_REGION_HEADER", "X-Region")
    monkeypatch.setenv("TTV_LIMIT_REGIONS", "EU, us")
    limiter = limiter_of(Settings())
    first = await limiter.judge(ANN, "submit", {"x-region": "eu"})
    second = await limiter.judge(ANN, "submit", {"x-region": "eu"})
    assert (first.limited, second.limited) == (False, True)
    assert first.headers["RateLimit"].startswith('"region";r=8;')
    assert 1 <= second.retry_after <= 60
    assert not (await limiter.judge(ANN, "read", {})).headers


async def test_an_address_that_fails_to_sign_in_is_blocked_and_others_are_not() -> None:
    limiter = limiter_of(Settings(limit_failures=2))
    assert await limiter.peer_blocked("192.0.2.1") is None
    for _ in range(2):
        await limiter.sign_in_failed("192.0.2.1")
    blocked = await limiter.peer_blocked("192.0.2.1")
    assert blocked is not None
    assert 1 <= blocked.retry_after <= 30
    assert await limiter.peer_blocked("192.0.2.2") is None
