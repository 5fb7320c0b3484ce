"""Files that were left out of a folder of images, and how to tell people of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hadis_lightly.data.errors import DataError
from hadis_lightly.text import printable

#: Names that an error message holds at most.
MAX_NAMES = 10

ON_ERROR = ("raise", "skip")


class ImageProblem(NamedTuple):
    """A file or folder that was not read."""

    key: str
    """Its path relative to the folder of images, with ``/``."""
    reason: str
    """Why not, in a few words."""


def describe_problems(
    problems: Sequence[ImageProblem], limit: int | None = MAX_NAMES
) -> str:
    r"""Says what was left out: one line with the count, then one for each file.

    Args:
        problems: The files.
        limit: Lines for so many files at most, and a last one that counts the rest.
            All of them if ``None``.

    Returns:
        Printable text without a newline at its end: whatever cannot be seen in a name
        is escaped. Without problems one line that says so.

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
    shown = problems if limit is None else problems[:limit]
    lines = [f"{count} left out:"]
    lines += [f"{printable(key)}: {printable(reason)}" for key, reason in shown]
    if len(problems) > len(shown):
        lines.append(f"and {len(problems) - len(shown):,} more")
    return "\n  ".join(lines)


def list_problems(problems: Sequence[ImageProblem]) -> str:
    """Names the first few of them in one line.

    Example:
        >>> list_problems([ImageProblem("a.png", "the file is empty")])
        "'a.png' (the file is empty)"
    """
    names = [
        f"'{printable(key)}' ({printable(reason)})"
        for key, reason in problems[:MAX_NAMES]
    ]
    if len(problems) > len(names):
        names.append(f"and {len(problems) - len(names):,} more")
    return ", ".join(names)


def check_on_error(on_error: str) -> None:
    """Checks the argument of that name.

    Raises:
        DataError: if it is none of :data:`ON_ERROR`.
    """
    if on_error not in ON_ERROR:
        raise DataError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
