"""What a run is told: every setting, its range, and its help."""

from __future__ import annotations

from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import (
    ClusteringSettings,
    ContrastSettings,
    DataSettings,
    LoaderSettings,
    ModelSettings,
    OptimizerSettings,
    PICISettings,
    Settings,
    TrainerSettings,
)
from hadis_lightly.transforms import ViewSettings

__all__ = [
    "ClusteringSettings",
    "ContrastSettings",
    "DataSettings",
    "LoaderSettings",
    "ModelSettings",
    "OptimizerSettings",
    "PICISettings",
    "Settings",
    "SettingsError",
    "TrainerSettings",
    "ViewSettings",
]
