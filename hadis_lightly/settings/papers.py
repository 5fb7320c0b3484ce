"""The methods, and the settings of their papers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hadis_lightly.backbone_names import MASKED_VIT
from hadis_lightly.settings.errors import SettingsError

#: By method, the paper's settings where they are not HaDis's: full names to values.
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "hadis": {},
    "propos": {"model.hsd_weight": 0.0},
    "byol": {"model.hsd_weight": 0.0, "model.pcl_weight": 0.0},
    "cc": {
        "loader.batch_size": 256,
        "loader.even_clusters": False,
        "optimizer.learning_rate": 3e-4,
        "optimizer.weight_decay": 0.0,
        "optimizer.warmup_epochs": 0,
    },
    "pici": {
        "loader.batch_size": 96,
        "loader.even_clusters": False,
        "model.backbone": MASKED_VIT,
        "optimizer.learning_rate": 1e-4,
        "optimizer.weight_decay": 0.0,
        "optimizer.warmup_epochs": 0,
        "trainer.max_epochs": 1050,
        # BYOL's views, which differ in blur and solarization, where
        # NOTE: both of ours have their mean.
        "views.cj_sat": 0.2,
        "views.gaussian_blur": 0.55,
        "views.solarization_prob": 0.1,
    },
}
METHOD_NAMES = tuple(_SETTINGS)


def paper_settings(method: str) -> dict[str, Any]:
    """The settings of a method where they are not HaDis's: full names to values.

    Raises:
        SettingsError: If there is no such method.
    """
    if method not in _SETTINGS:
        names = ", ".join(METHOD_NAMES)
        raise SettingsError(f"method must be one of {names}, got {method!r}.")
    return dict(_SETTINGS[method])
