"""The cells of the paper's tables: what each of them is, and which are needed."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from paper_figures import SETS
from pixel_methods import PIXEL_METHODS
from recipe_settings import changed, recipe_of
from table_options import EXTRA_SETS, OptionError, Options

from hadis_lightly.data.sets.cifar import DEFAULT_CIFAR10_PATH, DEFAULT_CIFAR20_PATH
from hadis_lightly.data.sets.imagenet import IMAGENET_SUBSETS
from hadis_lightly.data.sets.stl10 import DEFAULT_STL10_PATH
from hadis_lightly.methods.registry import check_run, with_method
from hadis_lightly.settings.changes import different_settings
from hadis_lightly.settings.sections import Settings

#: Where ``root=DIR`` has the data sets.
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


@dataclass(frozen=True)
class Cell:
    """One training, or one clustering of pixels."""

    method: str
    dataset: str
    seed: int
    variant: str = ""
    """What is changed for the ablations, see :data:`VARIANTS`."""

    def __str__(self) -> str:
        variant = f", {self.variant}" if self.variant else ""
        return f"{self.method}{variant} on {self.dataset}, seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """Where its run lies; a run with other settings has a number behind that."""
        method = f"{self.method}.{self.variant}" if self.variant else self.method
        return root / self.dataset / method / f"seed{self.seed}"


#: Cells that are in no recipe: the settings that make them.
VARIANTS: dict[str, dict[str, float]] = {
    "without_pcl": {"model.pcl_weight": 0.0},
    "latent_std_0": {"model.latent_std": 0.0},
    "latent_std_0.001": {"model.latent_std": 0.001},
    "latent_std_0.01": {"model.latent_std": 0.01},
    "latent_std_0.1": {"model.latent_std": 0.1},
}
#: Rows of Table III: method and variant. HaDis without HSD is ProPos.
ABLATION = {
    "without HSD": ("propos", ""),
    "without PCL": ("hadis", "without_pcl"),
    "both": ("hadis", ""),
}
#: Rows of Table IV. NOTE: 0.01 and 0.1 are ours, the paper's larger ones unknown to us.
DIFFUSION = {
    "none": ("hadis", "latent_std_0"),
    "0.001": ("hadis", "latent_std_0.001"),
    "0.01": ("hadis", "latent_std_0.01"),
    "0.1": ("hadis", "latent_std_0.1"),
}
#: Sets that the paper has in each table.
SETS_OF = {
    "II": list(SETS),
    "III": ["cifar10", "imagenet10"],
    "IV": ["cifar10"],
}


def sets_in(table: str, options: Options) -> list[str]:
    """The chosen data sets that a table is for: the paper's, and those it lacks."""
    possible = {*SETS_OF[table], *EXTRA_SETS}
    return [name for name in options.datasets if name in possible]


def cells_in(
    options: Options, method: str, dataset: str, variant: str = ""
) -> list[Cell]:
    """The cells of one place in a table, a cell for each seed."""
    if method not in options.methods:
        return []
    cells = (Cell(method, dataset, seed, variant) for seed in options.seeds)
    return [canonical(cell, options) for cell in cells]


def needed_cells(options: Options) -> list[Cell]:
    """All cells of the chosen tables, the first seed of all of them first."""
    found = [cell for table in options.tables for cell in _of_table(table, options)]
    return sorted(dict.fromkeys(found), key=lambda cell: options.seeds.index(cell.seed))


def _of_table(table: str, options: Options) -> Iterator[Cell]:
    rows = {"III": ABLATION, "IV": DIFFUSION}.get(
        table, {method: (method, "") for method in options.methods}
    )
    for dataset in sets_in(table, options):
        for method, variant in rows.values():
            yield from cells_in(options, method, dataset, variant)


def canonical(cell: Cell, options: Options) -> Cell:
    """The plain cell where a variant changes nothing."""
    if not cell.variant:
        return cell
    plain = Cell(cell.method, cell.dataset, cell.seed)
    settings = settings_of(cell, options)
    changes = different_settings(asdict(settings_of(plain, options)), settings)
    return cell if changes else plain


def settings_of(cell: Cell, options: Options) -> Settings:
    """The settings of a cell's run.

    Raises:
        OmegaConfBaseException: If a setting that was given does not exist, or has a
            value of another type.
    """
    settings = copy.deepcopy(
        _settings_of_all_seeds(
            cell.method,
            cell.dataset,
            cell.variant,
            path_of(cell.dataset, options),
            tuple(options.settings),
        )
    )
    settings.seed = cell.seed
    settings.output_dir = str(cell.folder(options.folder))
    return settings


@functools.cache
def _settings_of_all_seeds(
    method: str, dataset: str, variant: str, path: str | None, given: tuple[str, ...]
) -> Settings:
    recipe = recipe_of(dataset)
    if method in PIXEL_METHODS:
        method = "hadis"
    own = recipe.get("METHODS", {}).get(method)
    settings = with_method(recipe["SETTINGS"], method, own)
    if path is not None:
        settings.data.path = path
        if path.endswith(".npz"):
            settings.data.source = "npz"
    settings = changed(settings, given)
    if variant:
        values = VARIANTS[variant].items()
        settings = changed(settings, [f"{name}={value}" for name, value in values])
    settings.trainer.resume = "auto"
    settings.clustering.pixel_baseline = False  # methods=kmeans does that
    return settings


def path_of(dataset: str, options: Options) -> str | None:
    """Where the arguments say that a data set lies."""
    if dataset in options.paths or options.root is None:
        return options.paths.get(dataset)
    name = _IN_ROOT.get(dataset)
    return None if name is None else str(options.root / name)


def check_cell(cell: Cell, options: Options) -> None:
    """Checks what can be known before anything runs.

    Raises:
        ValueError: Says what is wrong.
    """
    settings = settings_of(cell, options)
    try:
        check_run(settings)
        _check_data(cell.dataset, settings)
    except ValueError as error:
        raise OptionError(f"{cell}: {error}") from None
    if str(settings.trainer.devices) != "1":
        raise OptionError("trainer.devices must be 1: a cell runs on one device")


def _check_data(dataset: str, settings: Settings) -> None:
    source, path = settings.data.source, settings.data.path
    if source == "digits":
        if path is not None:
            raise OptionError(f"digits take no path, got {path!r}")
        return
    may_download = source in _DOWNLOADED and settings.data.download
    where = path or _DOWNLOADED.get(source)
    if where is None:
        kind = "DIR" if source in (*IMAGENET_SUBSETS, "folder") else "FILE"
        raise OptionError(f"path.{dataset}={kind} has to say where the images are")
    if not may_download and not Path(where).expanduser().exists():
        raise OptionError(f"there is no {str(where)!r}; path.{dataset}=... is another")
