"""What can be wrong with data; every message is one line that names the culprit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hadis_lightly.text import printable

#: Number of files that a message names.
MAX_NAMES = 10


class DataError(ValueError):
    """The data cannot be found, or are not what they should be."""


class ImageReadError(DataError):
    """An image file, or several of them, cannot be read.

    Args:
        message: The line that names the file.
        reason: What is wrong with it, without its name.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class ImageSizeError(DataError):
    """Images that must have one size differ in size."""


class ImageProblem(NamedTuple):
    """A file or folder that was left out."""

    key: str
    """Its path relative to the folder of images, with ``/``."""
    reason: str
    """Why, in a few words."""


def describe_problems(
    problems: Sequence[ImageProblem],
    limit: int | None = MAX_NAMES,
    num_problems: int | None = None,
) -> str:
    r"""The number of files left out, then a line for each of them.

    Args:
        problems: The files.
        limit: Number of files to list; ``None`` for all.
        num_problems: Number of files left out, if ``problems`` are only the first.

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
    n = num_problems or len(problems)
    count = "1 file" if n == 1 else f"{n:,} files"
    lines = [f"{printable(key)}: {printable(reason)}" for key, reason in problems]
    return "\n  ".join([f"{count} left out:", *_first(lines, limit, n)])


def list_problems(problems: Sequence[ImageProblem]) -> str:
    """The first few of them in one line.

    Example:
        >>> list_problems([ImageProblem("a.png", "the file is empty")])
        "'a.png' (the file is empty)"
    """
    names = [f"'{printable(key)}' ({printable(reason)})" for key, reason in problems]
    return ", ".join(_first(names, MAX_NAMES, len(names)))


def _first(items: list[str], limit: int | None, n: int) -> list[str]:
    shown = items[:limit]
    return [*shown, f"and {n - len(shown):,} more"] if n > len(shown) else shown


def check_on_error(on_error: str) -> None:
    """Raises DataError unless ``on_error`` is ``raise`` or ``skip``."""
    if on_error not in ("raise", "skip"):
        raise DataError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
