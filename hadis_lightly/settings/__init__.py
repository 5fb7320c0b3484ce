"""The settings of a run: every one with its default, range and help."""

from __future__ import annotations

from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.images import DataSettings, LoaderSettings
from hadis_lightly.settings.networks import (
    ContrastSettings,
    FeatureSettings,
    ModelSettings,
    PICISettings,
)
from hadis_lightly.settings.sections import Settings
from hadis_lightly.settings.training import (
    ClusteringSettings,
    OptimizerSettings,
    TrainerSettings,
)
from hadis_lightly.settings.views import ViewSettings

__all__ = [
    "ClusteringSettings",
    "ContrastSettings",
    "DataSettings",
    "FeatureSettings",
    "LoaderSettings",
    "ModelSettings",
    "OptimizerSettings",
    "PICISettings",
    "Settings",
    "SettingsError",
    "TrainerSettings",
    "ViewSettings",
]
