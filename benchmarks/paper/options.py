"""The arguments of ``paper_tables.py``: ``key=value``, lists with commas."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paper_figures import SETS
from pixel_methods import PIXEL_METHODS

from hadis_lightly.cli.error_lines import suggestion
from hadis_lightly.settings.sections import METHOD_NAMES, Settings

METHODS = (*PIXEL_METHODS, "byol", "propos", "hadis", "cc", "pici")
assert {*METHODS} == {*PIXEL_METHODS, *METHOD_NAMES}
#: Data sets that the paper does not have.
EXTRA_SETS = ("digits", "small_cifar10")
DATASETS = (*SETS, *EXTRA_SETS)
TABLES = ("II", "III", "IV")
_OPTIONS = (
    "methods", "datasets", "seeds", "tables", "folder", "root", "run", "keep_going",
    "csv",
)  # fmt: skip
# Settings that the cells differ in, and the option that says how.
_CHOSEN_BY = {
    "method": "methods=",
    "seed": "seeds=",
    "output_dir": "folder=",
    "data": "datasets=",
    "trainer.resume": "nothing: interrupted cells are always resumed",
    "clustering.pixel_baseline": "methods=kmeans",
}


class OptionError(ValueError):
    """What is wrong with the arguments, in one line."""


@dataclass
class Options:
    """What the arguments ask for."""

    methods: list[str]
    datasets: list[str]
    seeds: list[int]
    tables: list[str] = field(default_factory=lambda: list(TABLES))
    folder: Path = Path("runs/tables")
    root: Path | None = None
    """Where all data sets lie, each under its usual name."""
    run: bool = True
    keep_going: bool = True
    csv: Path | None = None
    paths: dict[str, str] = field(default_factory=dict)
    """Data sets to where they lie."""
    settings: list[str] = field(default_factory=list)
    """Settings of every cell, ``key=value``."""


def read_options(argv: Sequence[str]) -> Options:
    """Reads the arguments.

    Raises:
        OptionError: If an argument is unknown, comes twice, or has no sensible value.
    """
    words = _words(argv)
    given = {name: words.pop(name) for name in _OPTIONS if name in words}
    paths = {
        _known(name.removeprefix("path."), "path.NAME", DATASETS): words.pop(name)
        for name in list(words)
        if name.startswith("path.")
    }
    for name in words:
        _check_setting(name)
    run = _truth("run", given.get("run", "true"))
    folder = Path(given.get("folder", "runs/tables"))
    if run:
        for name in ("methods", "datasets"):
            if name not in given:
                raise OptionError(
                    f"{name}= has to say what to run; run=false prints what is there"
                )
    seeds = [0, 1, 2] if run else _seeds_in(folder)
    return Options(
        methods=_names(given, "methods", METHODS),
        datasets=_names(given, "datasets", DATASETS)
        if "datasets" in given
        else [*SETS, *(name for name in EXTRA_SETS if (folder / name).is_dir())],
        seeds=[_seed(text) for text in _list(given, "seeds")]
        if "seeds" in given
        else seeds,
        tables=_names(given, "tables", TABLES),
        folder=folder,
        root=Path(given["root"]) if "root" in given else None,
        run=run,
        keep_going=_truth("keep_going", given.get("keep_going", "true")),
        csv=Path(given["csv"]) if "csv" in given else None,
        paths=paths,
        settings=[f"{name}={value}" for name, value in words.items()],
    )


def _words(argv: Sequence[str]) -> dict[str, str]:
    words: dict[str, str] = {}
    for word in argv:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise OptionError(f"cannot read {word!r}: arguments are key=value")
        if name in words:
            raise OptionError(f"{name} is given twice")
        if not value and (name in _OPTIONS or name.startswith("path.")):
            raise OptionError(f"{name}= has no value")
        words[name] = value
    return words


def _check_setting(name: str) -> None:
    """Checks what is no option: it may be a setting, or a slip of the pen."""
    if name in _CHOSEN_BY:
        raise OptionError(f"{name} is not for single cells; it is up to "
                          f"{_CHOSEN_BY[name]}")  # fmt: skip
    if "." not in name and name not in vars(Settings()):
        near = difflib.get_close_matches(name, _OPTIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else suggestion(name, Settings())
        raise OptionError(f"there is no option {name!r}{hint}")


def _list(given: dict[str, str], name: str) -> list[str]:
    return list(dict.fromkeys(text.strip() for text in given[name].split(",")))


def _names(given: dict[str, str], name: str, known: Collection[str]) -> list[str]:
    """The names that are asked for in the order of the tables; by default all."""
    if name not in given:
        return list(known)
    asked = [_known(text, name, known) for text in _list(given, name)]
    return [text for text in known if text in asked]


def _known(text: str, name: str, known: Collection[str]) -> str:
    if text not in known:
        raise OptionError(f"{name} must be of {', '.join(known)}, got {text!r}")
    return text


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise OptionError(f"seeds must be integers >= 0, got {text!r}")
    return int(text)


def _truth(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise OptionError(f"{name} must be true or false, got {text!r}")
    return text == "true"


def _seeds_in(folder: Path) -> list[int]:
    found = (re.match(r"seed(\d+)", path.name) for path in folder.glob("*/*/seed*"))
    return sorted({int(match[1]) for match in found if match})
