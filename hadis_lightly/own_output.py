"""Output of this package: under names of its own, and never taken for input."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hadis_lightly.atomic import unfinished_name

#: Lies in every folder of results, so that its pictures are not taken for images.
MARKER = ".hadis-lightly"


@dataclass
class NewFile:
    """A file that is being written."""

    unfinished: Path
    """Where it is written, with the suffix of its name."""
    path: Path
    """The name that it is to have, and in the end its name."""


@contextmanager
def new_file(path: Path) -> Iterator[NewFile]:
    """Makes a file that gets its name once it is complete.

    Until then it has a hidden name, which is all that a killed process leaves. After an
    exception it is removed. If it is gone at the end, nothing gets the name.

    Args:
        path: The name; a number is added if it is taken: ``a.csv``, ``a-2.csv``, ...
            Whatever runs beside, nothing else is replaced.

    Raises:
        OSError: If no file can be made there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = NewFile(unfinished_name(path), path)
    file.unfinished.open("x").close()  # says at once whether that is possible
    try:
        yield file
        if file.unfinished.exists():
            file.path = _claim(file.path, partial(_name, file.unfinished))
    except OSError as error:
        if error.filename == str(file.unfinished):  # which nobody knows
            error.filename = str(file.path)
        raise
    finally:
        with suppress(OSError):
            file.unfinished.unlink()


def _name(unfinished: Path, path: Path) -> None:
    """Gives a file a name, unless something has it."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links on such a disk (exFAT)
        path.open("x").close()
        os.replace(unfinished, path)


def new_link(path: Path, target: str) -> Path:
    """Makes a symbolic link; a number is added to its name if that is taken.

    Returns:
        The link.

    Raises:
        OSError: If no link can be made there.
    """
    return _claim(path, partial(os.symlink, target))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Makes a folder of results; a number is added to its name if that is taken.

    Whatever runs beside, nobody else gets the same folder. After an exception it is
    removed, unless something has been written to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
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
    free = path
    for number in itertools.count(2):
        try:
            make(free)
            break
        except FileExistsError:
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
