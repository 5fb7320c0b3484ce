"""Training: the LightningModule, the callback that clusters, and the runner."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hadis_lightly.training.contrastive_clustering import ContrastiveClustering
from hadis_lightly.training.hadis import HaDis
from hadis_lightly.training.online_clusters import OnlineClusters
from hadis_lightly.training.pici import PICI
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans

if TYPE_CHECKING:
    from hadis_lightly.training.checkpoint import (
        CheckpointError,
        backbone_state_dict,
        read_checkpoint,
    )
    from hadis_lightly.training.config import (
        ClusteringSettings,
        ContrastSettings,
        DataSettings,
        LoaderSettings,
        ModelSettings,
        OptimizerSettings,
        PICISettings,
        Settings,
        SettingsError,
        TrainerSettings,
        ViewsSettings,
    )
    from hadis_lightly.training.health import DivergedError, HealthMonitor
    from hadis_lightly.training.interruption import RunInterrupted
    from hadis_lightly.training.launcher import launch
    from hadis_lightly.training.methods import with_method
    from hadis_lightly.training.predictor import ClusterPredictor, Prediction
    from hadis_lightly.training.results import RunResult
    from hadis_lightly.training.runner import run

__all__ = [
    "PICI",
    "CheckpointError",
    "ClusterPredictor",
    "ClusteringSettings",
    "ContrastSettings",
    "ContrastiveClustering",
    "DataSettings",
    "DivergedError",
    "HaDis",
    "HealthMonitor",
    "LoaderSettings",
    "ModelSettings",
    "OnlineClusters",
    "OptimizerSettings",
    "PICISettings",
    "Prediction",
    "PrototypeKMeans",
    "RunInterrupted",
    "RunResult",
    "Settings",
    "SettingsError",
    "TrainerSettings",
    "ViewsSettings",
    "backbone_state_dict",
    "launch",
    "read_checkpoint",
    "run",
    "with_method",
]

_MODULES = {
    "CheckpointError": "checkpoint",
    "ClusterPredictor": "predictor",
    "DivergedError": "health",
    "HealthMonitor": "health",
    "Prediction": "predictor",
    "RunInterrupted": "interruption",
    "RunResult": "results",
    "backbone_state_dict": "checkpoint",
    "launch": "launcher",
    "read_checkpoint": "checkpoint",
    "run": "runner",
    "with_method": "methods",
}


def __getattr__(name: str) -> Any:
    """Imports the runner when it is asked for: Hydra and matplotlib take seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'config')}")
    value = getattr(module, name)
    globals()[name] = value
    return value
