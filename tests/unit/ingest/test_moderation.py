from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from infra.settings import Settings
from ingest.moderation import BadModeration, Moderation
from schemas.records import JobRequested

CANARY = "canary-9f2c"
Ask = Callable[[Sequence[str], str], Awaitable[Any]]


@pytest.fixture
def hook() -> Iterator[Callable[[Ask], str]]:
    """Makes a coroutine function something that a setting can name."""
    module = ModuleType("ttv_test_moderation")
    sys.modules[module.__name__] = module

    def name(ask: Ask) -> str:
        module.moderate = ask  # type: ignore[attr-defined]
        return f"{module.__name__}:moderate"

    yield name
    del sys.modules[module.__name__]


def asked(prompt: str = "a cat", negative: str | None = None) -> JobRequested:
    return JobRequested(tenant_id="acme", prompt=prompt, negative_prompt=negative)


async def test_the_block_list_is_asked_first_and_for_both_prompts(
    hook: Callable[[Ask], str],
) -> None:
    seen: list[tuple[list[str], str]] = []

    async def moderate(texts: Sequence[str], tenant_id: str) -> bool:
        seen.append((list(texts), tenant_id))
        return True

    checks = Moderation(Settings(moderation=hook(moderate)))
    for request in (asked("c.s.a.m"), asked("a cat", "C5AM")):
        found = await checks.check(request)
        assert (found.outcome, found.allowed) == ("blocked", False)
    assert not seen
    found = await checks.check(asked("a cat", "a dog"))
    assert (found.outcome, found.allowed, found.details) == ("passed", True, {})
    assert seen == [(["a cat", "a dog"], "acme")]


@pytest.mark.parametrize("answer", [False, None, "yes", 1])
async def test_only_true_lets_a_prompt_pass(answer: object, hook: Callable[[Ask], str]) -> None:
    async def moderate(_texts: Sequence[str], _tenant: str) -> object:
        return answer

    found = await Moderation(Settings(moderation=hook(moderate))).check(asked())
    assert (found.outcome, found.allowed) == ("blocked", False)


async def raises(texts: Sequence[str], _tenant: str) -> bool:
    raise RuntimeError(f"could not moderate {texts[0]}")


async def hangs(_texts: Sequence[str], _tenant: str) -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize("moderate", [raises, hangs])
@pytest.mark.parametrize("is_open", [False, True])
async def test_when_moderation_fails_the_setting_decides_and_no_log_quotes(
    moderate: Ask, *, is_open: bool, hook: Callable[[Ask], str]
) -> None:
    config = Settings(
        moderation=hook(moderate), moderation_deadline=0.01, moderation_fail_open=is_open
    )
    checks = Moderation(config)
    with capture_logs() as logs:
        for _ in range(8):  # beyond what opens the breaker
            found = await checks.check(asked(CANARY))
            assert (found.outcome, found.allowed) == ("unchecked", is_open)
    assert len(logs) == 5
    assert CANARY not in repr(logs) + repr(found)


async def test_what_the_audit_gets_is_a_digest() -> None:
    checks = Moderation(Settings.model_validate({"audit_key": "k"}))
    prompt = f"{CANARY} " * 100
    found = await checks.check(asked(prompt))
    assert found.allowed
    assert found.details["oddities"] == "repetitive"
    assert found.details["characters"] == str(len(prompt))
    assert CANARY not in repr(found)
    again = await Moderation(Settings.model_validate({"audit_key": "k"})).check(asked(prompt))
    other = await Moderation(Settings()).check(asked(prompt))
    assert found.details["digest"] == again.details["digest"] != other.details["digest"]


@pytest.mark.parametrize("path", ["nowhere_at_all:check", "os:nothing", "os:sep"])
def test_a_setting_that_names_nothing_stops_the_start(path: str) -> None:
    with pytest.raises(BadModeration):
        Moderation(Settings(moderation=path))


def test_a_missing_block_list_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Moderation(Settings(blocked_terms=tmp_path / "none"))
