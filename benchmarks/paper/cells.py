"""The cells of the paper's tables: their settings, and which are needed."""

from __future__ import annotations

import argparse
import copy
import functools
import runpy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from options import EXTRA_SETS
from pixel_methods import PIXEL_METHODS
from published import SETS

from hadis_lightly.data.sets.cifar import DEFAULT_CIFAR10_PATH, DEFAULT_CIFAR20_PATH
from hadis_lightly.data.sets.stl10 import DEFAULT_STL10_PATH
from hadis_lightly.methods.registry import check_run, with_method
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.sections import Settings

ROOT = Path(__file__).parents[2]
#: Names of the data sets below ``--root``.
_IN_ROOT = {
    "cifar10": "cifar10",
    "cifar20": "cifar100",
    "stl10": "stl10",
    "imagenet10": "imagenet",
    "imagenet_dogs": "imagenet",
    "small_cifar10": "small_cifar10.npz",
}
_DOWNLOADED = {
    "cifar10": DEFAULT_CIFAR10_PATH,
    "cifar20": DEFAULT_CIFAR20_PATH,
    "stl10": DEFAULT_STL10_PATH,
}
#: Rows of Table III: method, and the settings changed. HaDis without HSD is ProPos.
ABLATION = {
    "without HSD": ("propos", ""),
    "without PCL": ("hadis", "model.pcl_weight=0.0"),
    "both": ("hadis", ""),
}
#: Rows of Table IV. NOTE: 0.01 and 0.1 are ours, the paper's larger ones are unknown.
DIFFUSION = {
    "none": ("hadis", "model.latent_std=0.0"),
    "0.001": ("hadis", "model.latent_std=0.001"),
    "0.01": ("hadis", "model.latent_std=0.01"),
    "0.1": ("hadis", "model.latent_std=0.1"),
}
#: Data sets that the paper has in each table.
SETS_OF = {"II": list(SETS), "III": ["cifar10", "imagenet10"], "IV": ["cifar10"]}


@dataclass(frozen=True)
class Cell:
    """One training, or one clustering of pixels."""

    method: str
    dataset: str
    seed: int
    variant: str = ""
    """The setting that is changed for the ablations."""

    def __str__(self) -> str:
        variant = f", {self.variant}" if self.variant else ""
        return f"{self.method}{variant} on {self.dataset}, seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """Where its run lies; one with other settings gets a number behind that."""
        variant = self.variant.removeprefix("model.").replace("=", "_")
        method = f"{self.method}.{variant}" if variant else self.method
        return root / self.dataset / method / f"seed{self.seed}"


def sets_in(table: str, options: argparse.Namespace) -> list[str]:
    """The chosen data sets of a table: the paper's, and those it lacks."""
    possible = {*SETS_OF[table], *EXTRA_SETS}
    return [name for name in options.datasets if name in possible]


def cells_in(
    options: argparse.Namespace, method: str, dataset: str, variant: str = ""
) -> list[Cell]:
    """The cells of one place in a table, one for each seed."""
    if method not in options.methods:
        return []
    if variant:  # one that changes nothing is the plain cell
        plain, changed = (
            settings_of(Cell(method, dataset, 0, name), options)
            for name in ("", variant)
        )
        if not different_settings(asdict(plain), changed):
            variant = ""
    return [Cell(method, dataset, seed, variant) for seed in options.seeds]


def needed_cells(options: argparse.Namespace) -> list[Cell]:
    """All cells of the chosen tables, the first seed of all of them first."""
    found = [cell for table in options.tables for cell in _of_table(table, options)]
    return sorted(dict.fromkeys(found), key=lambda cell: options.seeds.index(cell.seed))


def _of_table(table: str, options: argparse.Namespace) -> Iterator[Cell]:
    plain = {method: (method, "") for method in options.methods}
    rows = {"II": plain, "III": ABLATION, "IV": DIFFUSION}[table]
    for dataset in sets_in(table, options):
        for method, variant in rows.values():
            yield from cells_in(options, method, dataset, variant)


def settings_of(cell: Cell, options: argparse.Namespace) -> Settings:
    """The settings of a cell's run.

    Raises:
        OmegaConfBaseException: If a setting that was given does not exist, or has a
            value of another type.
    """
    recipe = _recipe_of(cell.dataset)
    method = "hadis" if cell.method in PIXEL_METHODS else cell.method
    settings = with_method(
        recipe["SETTINGS"], method, recipe.get("METHODS", {}).get(method)
    )
    path = options.paths.get(cell.dataset)
    if path is None and options.root is not None and cell.dataset in _IN_ROOT:
        path = str(options.root / _IN_ROOT[cell.dataset])
    if path is not None:
        settings.data.path = path
        if path.endswith(".npz"):
            settings.data.source = "npz"
    changes = OmegaConf.from_dotlist([*options.settings, *filter(None, [cell.variant])])
    merged: Any = OmegaConf.merge(OmegaConf.structured(settings), changes)
    settings = OmegaConf.to_object(merged)
    settings.trainer.resume = "auto"
    settings.clustering.pixel_baseline = False  # --methods kmeans does that
    settings.seed = cell.seed
    settings.output_dir = str(cell.folder(options.folder))
    return settings


@functools.cache
def _recipe_of(dataset: str) -> dict[str, Any]:
    folder = "benchmarks/quality" if dataset == "small_cifar10" else "recipes"
    return runpy.run_path(str(ROOT / folder / f"{dataset}.py"))


def check_cell(cell: Cell, options: argparse.Namespace) -> None:
    """Checks what can be known before anything runs.

    Raises:
        ValueError: If a setting or a path is wrong.
    """
    settings = settings_of(cell, options)
    if str(settings.trainer.devices) != "1":
        raise ValueError("trainer.devices must be 1: a cell runs on one device")
    check_run(copy.deepcopy(settings))
    source, path = settings.data.source, settings.data.path
    if source == "digits":
        if path is not None:
            raise ValueError(f"digits take no path, got {path!r}")
        return
    where = path or _DOWNLOADED.get(source)
    if where is None:
        raise ValueError(f"{cell}: --path {cell.dataset}=... is missing")
    may_download = source in _DOWNLOADED and settings.data.download
    if not may_download and not Path(where).expanduser().exists():
        raise ValueError(f"{cell}: there is no {str(where)!r}")
