"""Settings as a process of a stack reads them."""

from __future__ import annotations

from collections.abc import Mapping

from infra.settings import Settings


def settings_from(env: Mapping[str, str]) -> Settings:
    """Settings from a mapping of TTV_ variables."""
    fields = {name.removeprefix("TTV_").lower(): value for name, value in env.items()}
    return Settings.model_validate(fields)
