"""Settings read back from what a run has written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from hadis_lightly.settings.sections import Settings


def settings_of(content: Mapping[str, Any]) -> Settings:
    """Settings out of a checkpoint; those that it does not know have their defaults."""
    settings = Settings()
    _fill(settings, content)
    return settings


def _fill(section: Any, content: Mapping[str, Any]) -> None:
    for name in (own.name for own in fields(section) if own.name in content):
        value = getattr(section, name)
        if is_dataclass(value):
            _fill(value, content[name])
        else:
            setattr(section, name, content[name])
