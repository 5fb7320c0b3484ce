"""Training: the LightningModule, the callback that clusters, and the runner."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hadis_lightly.training.hadis import HaDis
from hadis_lightly.training.prototype_kmeans import PrototypeKMeans

if TYPE_CHECKING:
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
    from hadis_lightly.training.launcher import launch
    from hadis_lightly.training.results import RunResult
    from hadis_lightly.training.runner import run

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

_RUNNER = {"launch": "launcher", "run": "runner", "RunResult": "results"}


def __getattr__(name: str) -> Any:
    """Imports the runner when it is asked for: Hydra and matplotlib take seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_RUNNER.get(name, 'config')}")
    value = getattr(module, name)
    globals()[name] = value
    return value
