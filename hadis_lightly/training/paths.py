"""Names that are not taken."""

from __future__ import annotations

from pathlib import Path


def unused(path: Path) -> Path:
    """The path, or with a number if something is there: ``a.csv``, ``a-2.csv``, ...

    Nothing that an earlier command left is ever overwritten.
    """
    number = 2
    found = path
    while found.exists() or found.is_symlink():
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return found
