"""Output of this package: under names of its own, and never taken for input."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Lies in every folder of results, so that its pictures are not taken for images.
MARKER = ".hadis-lightly"


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Claims the name of a file by an empty one; removes it after an exception.

    Args:
        path: The name; a number is added if it is taken: ``a.csv``, ``a-2.csv``, ...
            Whatever runs beside, nobody else gets the same name.

    Raises:
        OSError: If no file can be made there.
    """
    claimed = _claim(path, lambda free: free.open("x").close())
    try:
        yield claimed
    except BaseException:
        with suppress(OSError):
            claimed.unlink()
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Makes a folder of results, as :func:`new_file` makes a file.

    After an exception the folder is removed, unless something has been written to it.
    """
    claimed = _claim(path, Path.mkdir)
    try:
        mark_own(claimed)
        yield claimed
    except BaseException:
        with suppress(OSError):
            if os.listdir(claimed) == [MARKER]:
                (claimed / MARKER).unlink()
            claimed.rmdir()
        raise


def mark_own(folder: Path) -> None:
    """Marks a folder of results, which :func:`is_own` then knows."""
    (folder / MARKER).write_text("Results of hadis-lightly, skipped as input.\n")


def is_own(folder: str | Path) -> bool:
    """Whether a folder holds results: of a run, a report, figures or sorted images."""
    return os.path.isfile(os.path.join(folder, MARKER)) or is_run(folder)


def is_run(folder: str | Path) -> bool:
    """Whether a folder is that of a run, of an earlier version too."""
    names = ("settings.yaml", ".lock")
    return all(os.path.isfile(os.path.join(folder, name)) for name in names)


def _claim(path: Path, make: Callable[[Path], object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    free = path
    for number in itertools.count(2):
        try:
            make(free)
            break
        except FileExistsError:
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
