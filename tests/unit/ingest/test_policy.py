"""The policy table, cell by cell: who may do what is written here a second time."""

from __future__ import annotations

import pytest

from ingest.identity.policy import ACTIONS, BARRED_WHEN_SUSPENDED, ROLES, granted, permits

#: viewer, creator, operator, admin.
EXPECTED = {
    "jobs:read": "yyyy",
    "jobs:write": "-yyy",
    "webhooks:read": "yyyy",
    "webhooks:write": "-yyy",
    "letters:read": "--yy",
    "letters:redrive": "--yy",
    "tenants:read": "--yy",
    "tenants:write": "---y",
    "keys:read": "---y",
    "keys:write": "---y",
}


def test_every_action_and_every_role_has_a_cell() -> None:
    assert set(EXPECTED) == set(ACTIONS)
    assert ROLES == ("viewer", "creator", "operator", "admin")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_its_cell_says(role: str, action: str) -> None:
    allowed = EXPECTED[action][ROLES.index(role)] == "y"
    assert permits(role, action) == allowed  # type: ignore[arg-type]
    assert permits(role, action, {action}) == allowed  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ACTIONS)
def test_scopes_only_take_away(action: str) -> None:
    others = [other for other in ACTIONS if other != action]
    assert not permits("admin", action, others)  # type: ignore[arg-type]
    assert not permits("admin", action, ())  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["", "Admin", "root", "admin ", "viewer,admin"])
def test_an_unknown_role_may_do_nothing(role: str) -> None:
    assert not any(permits(role, action) for action in ACTIONS)


def test_a_suspended_tenant_makes_no_work() -> None:
    assert {"jobs:write", "letters:redrive"} == BARRED_WHEN_SUSPENDED


def test_what_is_granted_is_what_is_permitted() -> None:
    assert granted("viewer") == {"jobs:read", "webhooks:read"}
    assert granted("viewer", {"jobs:read", "keys:write"}) == {"jobs:read"}
    assert granted("admin") == set(ACTIONS)
    assert granted("root") == set()
