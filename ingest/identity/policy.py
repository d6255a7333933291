"""What each role may do: one table, from which routes, documents and tests are read. Pure.

A viewer reads its tenant's jobs; a creator makes and ends them too. Operators and admins run the
deployment: an operator looks after dead letters, an admin after tenants and keys. Whatever the
role, jobs and webhook endpoints are those of the caller's own tenant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, get_args

Role = Literal["viewer", "creator", "operator", "admin"]
Action = Literal[
    "jobs:read",
    "jobs:write",
    "webhooks:read",
    "webhooks:write",
    "letters:read",
    "letters:redrive",
    "tenants:read",
    "tenants:write",
    "keys:read",
    "keys:write",
]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

_ALL: Final[frozenset[Role]] = frozenset(ROLES)
_MAKERS: Final[frozenset[Role]] = frozenset({"creator", "operator", "admin"})
_OPERATORS: Final[frozenset[Role]] = frozenset({"operator", "admin"})
_ADMINS: Final[frozenset[Role]] = frozenset({"admin"})

#: Who may do what.
POLICY: Final[Mapping[Action, frozenset[Role]]] = {
    "jobs:read": _ALL,
    "jobs:write": _MAKERS,
    "webhooks:read": _ALL,
    "webhooks:write": _MAKERS,
    "letters:read": _OPERATORS,
    "letters:redrive": _OPERATORS,
    "tenants:read": _OPERATORS,
    "tenants:write": _ADMINS,
    "keys:read": _ADMINS,
    "keys:write": _ADMINS,
}

#: What a suspended tenant may not do: make work. It reads, downloads and ends what it has.
BARRED_WHEN_SUSPENDED: Final[frozenset[Action]] = frozenset({"jobs:write", "letters:redrive"})


def permits(role: str, action: Action, scopes: Collection[str] | None = None) -> bool:
    """Whether ``role`` may do ``action``.

    Args:
        role: A name from a key or a token; unknown ones may do nothing.
        action: What is to be done.
        scopes: Actions that the credential is limited to; None: all that its role may.
    """
    return role in POLICY[action] and (scopes is None or action in scopes)


def granted(role: str, scopes: Collection[str] | None = None) -> frozenset[Action]:
    """All that a credential of ``role``, limited to ``scopes``, may do."""
    return frozenset(action for action in ACTIONS if permits(role, action, scopes))
