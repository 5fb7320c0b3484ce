"""Files that were left out of a folder of images, and how to name them to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hadis_lightly.data.errors import DataError
from hadis_lightly.text import printable

#: Files that a message names at most.
MAX_NAMES = 10


class ImageProblem(NamedTuple):
    """A file or folder that was not read."""

    key: str
    """Its path relative to the folder of images, with ``/``."""
    reason: str
    """Why not, in a few words."""


def describe_problems(
    problems: Sequence[ImageProblem], limit: int | None = MAX_NAMES
) -> str:
    r"""The number of files left out, then a line for each of them.

    Args:
        problems: The files.
        limit: Lines at most, followed by the number of the rest; ``None`` for all.

    Returns:
        Printable text: invisible characters of a name are escaped.

    Example:
        >>> problem = ImageProblem("cats/bad\n.png", "the file is empty")
        >>> print(describe_problems([problem] * 3, limit=2))
        3 files left out:
          cats/bad\n.png: the file is empty
          cats/bad\n.png: the file is empty
          and 1 more
    """
    if not problems:
        return "no file left out"
    count = "1 file" if len(problems) == 1 else f"{len(problems):,} files"
    lines = [f"{printable(key)}: {printable(reason)}" for key, reason in problems]
    return "\n  ".join([f"{count} left out:", *_first(lines, limit)])


def list_problems(problems: Sequence[ImageProblem]) -> str:
    """The first few of them in one line.

    Example:
        >>> list_problems([ImageProblem("a.png", "the file is empty")])
        "'a.png' (the file is empty)"
    """
    names = [f"'{printable(key)}' ({printable(reason)})" for key, reason in problems]
    return ", ".join(_first(names, MAX_NAMES))


def _first(items: list[str], limit: int | None) -> list[str]:
    if limit is None or len(items) <= limit:
        return items
    return [*items[:limit], f"and {len(items) - limit:,} more"]


def check_on_error(on_error: str) -> None:
    """Checks the argument of that name.

    Raises:
        DataError: if it is neither ``raise`` nor ``skip``.
    """
    if on_error not in ("raise", "skip"):
        raise DataError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
