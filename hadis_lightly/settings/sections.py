"""All settings of a run. The defaults are the paper's for CIFAR-10."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hadis_lightly.fields import setting
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.images import DataSettings, LoaderSettings
from hadis_lightly.settings.networks import (
    ContrastSettings,
    FeatureSettings,
    ModelSettings,
    PICISettings,
)
from hadis_lightly.settings.papers import METHOD_NAMES
from hadis_lightly.settings.training import (
    ClusteringSettings,
    OptimizerSettings,
    TrainerSettings,
)
from hadis_lightly.settings.views import ViewSettings

# What n_clusters=auto stands for.
_AUTO = "2-40"


@dataclass
class Settings:
    """All settings of a run; on a command line ``model.pcl_weight`` and the like."""

    method: str = setting(
        "hadis",
        "Method. It brings the settings of its paper; others given beside it win.",
        choices=METHOD_NAMES,
    )
    n_clusters: int | str = setting(
        10,
        "Number of clusters. If it is not known: a range such as 5-20, or auto for "
        f"{_AUTO}; it is then chosen when the warm-up of the clustering ends.",
        low=2,
    )
    names: str | None = setting(
        None,
        "A names.json or labels.csv downloaded from a report of these images, or a "
        "table with columns file and label: those with a label given by hand are "
        "examples. Images of one name share a cluster, images of two do not. Not in "
        "the papers.",
        is_path=True,
    )
    seed: int = setting(0, "Seed of all randomness.", low=0, high=2**32 - 1)
    output_dir: str | None = setting(
        None,
        "Folder for the results; by default a new one below runs/, for commands and "
        "recipes below runs/NAME/.",
        effect="nothing",
        is_path=True,
    )
    quiet: bool = setting(False, "Print errors only.", effect="nothing")
    data: DataSettings = field(default_factory=DataSettings)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    pici: PICISettings = field(default_factory=PICISettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    clustering: ClusteringSettings = field(default_factory=ClusteringSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)

    def n_clusters_range(self) -> tuple[int, int]:
        """Lowest and highest number of clusters: the same unless it is to be chosen.

        Raises:
            SettingsError: If ``n_clusters`` is neither a number, nor auto, nor a range.
        """
        given = self.n_clusters
        if isinstance(given, int):
            return given, given
        words = _AUTO if given == "auto" else given
        if found := re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", words):
            low, high = map(int, found.groups())
            if 2 <= low < high:
                return low, high
        raise SettingsError(
            f"n_clusters must be a number, auto or a range such as 5-20, got {given!r}."
        )
