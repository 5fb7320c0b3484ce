"""The arguments of ``paper_tables.py``: options, and settings of every training."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pixel_methods import PIXEL_METHODS
from published import SETS

from hadis_lightly.settings.papers import METHOD_NAMES

METHODS = (*PIXEL_METHODS, *METHOD_NAMES)
#: Data sets that the paper does not have.
EXTRA_SETS = ("digits", "small_cifar10")
DATASETS = (*SETS, *EXTRA_SETS)
TABLES = ("II", "III", "IV")
# Settings that the cells differ in, and the option that chooses them.
_CHOSEN_BY = {
    "method": "--methods",
    "seed": "--seeds",
    "output_dir": "--folder",
    "data": "--datasets",
    "trainer.resume": "nothing: interrupted cells are always resumed",
    "clustering.pixel_baseline": "--methods kmeans",
}


def read_options(argv: Sequence[str], description: str) -> argparse.Namespace:
    """Reads the arguments, or ends the process and says what is wrong."""
    parser = argparse.ArgumentParser(
        prog="paper_tables.py",
        usage="%(prog)s --methods A,B --datasets C,D [options] [name=value ...]",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("settings", nargs="*", metavar="name=value", help="settings of every training")
    add("--methods", type=_names(METHODS), help=", ".join(METHODS))
    add("--datasets", type=_names(DATASETS), help=", ".join(DATASETS))
    add("--seeds", type=_seeds, help="0,1,2 by default")
    add("--tables", type=_names(TABLES), default=[*TABLES], help="all by default")
    add("--folder", type=Path, default=Path("runs/tables"))
    add("--root", type=Path, help="folder of all data sets, each under its usual name")
    add("--path", type=_path, action="append", default=[], metavar="NAME=DIR",
        help="where a data set lies, or an npz file to take in its place")  # fmt: skip
    add("--print", dest="run", action="store_false", help="run nothing, print cells")
    add("--fail-fast", action="store_true", help="stop at the first cell that fails")
    add("--csv", type=Path, help="file for every finished cell")
    options = parser.parse_intermixed_args(argv)
    for word in options.settings:
        name, equals, _ = word.partition("=")
        chosen_by = _CHOSEN_BY.get(name)
        if not equals:
            parser.error(f"cannot read {word!r}: settings are name=value")
        if chosen_by:
            parser.error(f"{name} cannot be set for all cells; use {chosen_by}")
    if options.run and (options.methods is None or options.datasets is None):
        parser.error("--methods and --datasets are required, except with --print")
    options.paths = dict(options.path)
    options.methods = options.methods or [*METHODS]
    if options.datasets is None:
        there = (name for name in EXTRA_SETS if (options.folder / name).is_dir())
        options.datasets = [*SETS, *there]
    if options.seeds is None:
        options.seeds = [0, 1, 2] if options.run else _seeds_in(options.folder)
    return options


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        asked = text.split(",")
        for name in asked:
            if name not in known:
                message = f"{name!r} is not one of {', '.join(known)}"
                raise argparse.ArgumentTypeError(message)
        return [name for name in known if name in asked]  # in the order of the tables

    return parse


def _seeds(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"seeds are integers >= 0, got {text!r}")
    return [*dict.fromkeys(map(int, text.split(",")))]


def _path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if name not in DATASETS or not equals:
        message = f"{text!r} is not NAME=DIR with one of {', '.join(DATASETS)}"
        raise argparse.ArgumentTypeError(message)
    return name, path


def _seeds_in(folder: Path) -> list[int]:
    found = (re.match(r"seed(\d+)", path.name) for path in folder.glob("*/*/seed*"))
    return sorted({int(match[1]) for match in found if match})
