"""All settings in words, for ``--help``: name, value, and what it means."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

_NAME_WIDTH, _WIDTH = 36, 88


def describe_settings(settings: Any) -> str:
    """A page with every setting, section by section.

    The meanings are the texts below the fields in the source of the dataclass.

    Args:
        settings: A dataclass, with dataclasses as its sections; its values are those
            that are named.
    """
    names = [f.name for f in fields(settings)]
    own = [_entry("", settings, name) for name in names]
    parts = ["\n".join(entry for entry in own if entry)]
    for name in names:
        value = getattr(settings, name)
        if is_dataclass(value):
            title = inspect.getdoc(type(value)) or ""
            entries = [_entry(f"{name}.", value, f.name) for f in fields(value)]
            parts.append("\n".join([f"{name}: {title}", *entries]))
    return "\n\n".join(parts)


def _entry(prefix: str, section: object, name: str) -> str:
    """One setting: ``name=value`` to the left, its meaning to the right."""
    value = getattr(section, name)
    if is_dataclass(value):
        return ""
    left = f"  {prefix}{name}={_text(value)}"
    kind: Any = type(section)
    meaning = meanings(kind).get(name, "")
    lines = textwrap.wrap(meaning, _WIDTH - _NAME_WIDTH) or [""]
    indent = " " * _NAME_WIDTH
    if len(left) >= _NAME_WIDTH:
        lines.insert(0, left)
    else:
        lines[0] = f"{left:{_NAME_WIDTH}}{lines[0]}".rstrip()
    return f"\n{indent}".join(line for line in lines if line)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@cache
def meanings(kind: type) -> dict[str, str]:
    """What the fields of a dataclass mean: the texts that follow them in the source."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for before, after in zip(definition.body, definition.body[1:], strict=False):
        is_field = isinstance(before, ast.AnnAssign) and isinstance(
            before.target, ast.Name
        )
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if is_field and is_text:
            found[before.target.id] = " ".join(str(after.value.value).split())  # type: ignore[attr-defined]
    return found
