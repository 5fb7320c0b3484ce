"""Training: the LightningModule, the callback that clusters, and the runner."""

from hadis_lightly.training.config import (
    ClusteringSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    OptimizerSettings,
    Settings,
    SettingsError,
    TrainerSettings,
    ViewsSettings,
)
from hadis_lightly.training.hadis import HaDis
from hadis_lightly.training.launch import launch
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans
from hadis_lightly.training.results import RunResult
from hadis_lightly.training.run import run

__all__ = [
    "ClusteringSettings",
    "DataSettings",
    "HaDis",
    "LoaderSettings",
    "ModelSettings",
    "OptimizerSettings",
    "PrototypeKMeans",
    "RunResult",
    "Settings",
    "SettingsError",
    "TrainerSettings",
    "ViewsSettings",
    "launch",
    "run",
]
