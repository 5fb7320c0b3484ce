"""docs/settings.md lists every setting, with its default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

from hadis_lightly.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
ROW = re.compile(
    r"^\| `(?P<name>[\w.]+)` \| `(?P<default>[^`]+)` \| (?P<meaning>.+) \|$"
)


def settings_of(section: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Full names and defaults, written as the page writes them."""
    assert is_dataclass(section)
    for setting in fields(section):
        value = getattr(section, setting.name)
        name = prefix + setting.name
        if is_dataclass(value):
            yield from settings_of(value, prefix=f"{name}.")
        else:
            yield name, as_text(value)


def as_text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return str([round(entry, 4) for entry in value])
    return str(value)


def rows() -> list[re.Match[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return [row for line in lines if (row := ROW.match(line)) is not None]


def test_the_page_is_complete_and_up_to_date() -> None:
    on_the_page = [(row["name"], row["default"]) for row in rows()]
    assert sorted(on_the_page) == sorted(settings_of(Settings()))


def test_every_setting_has_a_meaning() -> None:
    assert all(row["meaning"].strip().endswith(".") for row in rows())
