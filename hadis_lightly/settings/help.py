"""The page of settings that ``--help`` prints: name, value, meaning and choices."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import fields, is_dataclass
from typing import Any

from hadis_lightly.fields import FieldInfo, field_infos

_NAME_WIDTH, _WIDTH = 36, 88


def describe_settings(settings: Any) -> str:
    """A page with every setting, section by section.

    Args:
        settings: A dataclass, with dataclasses as its sections; its values are shown.
    """
    sections = {"": settings} | {
        f"{own.name}.": value
        for own in fields(settings)
        if is_dataclass(value := getattr(settings, own.name))
    }
    parts = []
    for prefix, section in sections.items():
        first_line = (section.__doc__ or "").partition("\n")[0]
        title = f"{prefix[:-1]}: {first_line}\n" if prefix else ""
        entries = [
            _entry(f"{prefix}{name}={value_text(getattr(section, name))}", info)
            for name, info in field_infos(section)
            if "." not in name
        ]
        parts.append(title + "\n".join(entries))
    return "\n\n".join(parts)


def meaning(info: FieldInfo) -> str:
    """What a setting means, and its choices unless the text names them all."""
    left_out = not set(info.choices) <= set(re.findall(r"[\w-]+", info.help))
    return f"{info.help} One of {', '.join(info.choices)}." if left_out else info.help


def value_text(value: object) -> str:
    """A value as a command line takes it: ``null``, ``true``, ``[0.5]``."""
    return value if isinstance(value, str) else json.dumps(value)


def _entry(left: str, info: FieldInfo) -> str:
    """One setting: ``name=value`` to the left, its meaning to the right."""
    indent = " " * _NAME_WIDTH
    lines = textwrap.wrap(
        meaning(info), _WIDTH, initial_indent=indent, subsequent_indent=indent
    )
    if len(left) + 2 < _NAME_WIDTH:
        lines[0] = f"  {left}".ljust(_NAME_WIDTH) + lines[0][_NAME_WIDTH:]
    else:
        lines.insert(0, f"  {left}")
    return "\n".join(lines)
