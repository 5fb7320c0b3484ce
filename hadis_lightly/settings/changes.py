"""Settings by their full names: set, compared between runs, listed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from typing import Any

from hadis_lightly.fields import field_infos
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.images import absolute_path
from hadis_lightly.settings.sections import Settings
from hadis_lightly.settings.views import CIFAR10_NORMALIZE, ViewSettings, grey_normalize

# What null means in a run without published weights.
_LEFT_OPEN = {
    "views.input_size": ViewSettings().size_px,
    "views.mean": CIFAR10_NORMALIZE["mean"],
    "views.std": CIFAR10_NORMALIZE["std"],
}


def set_values(settings: Settings, values: Mapping[str, Any]) -> None:
    """Sets settings by their full names, such as ``model.pcl_weight``, to copies.

    Raises:
        SettingsError: If there is no setting of that name.
    """
    names = {name for name, _ in field_infos(settings)}
    for name, value in values.items():
        if name not in names:
            raise SettingsError(f"there is no setting {name!r}.")
        section, _, last = name.rpartition(".")
        owner = getattr(settings, section) if section else settings
        setattr(owner, last, deepcopy(value))


def different_settings(
    before: Mapping[str, Any], settings: Settings, exactly: bool = False
) -> list[str]:
    """The settings of two runs that differ and change the results.

    Args:
        before: Settings of the one, as plain data.
        settings: Settings of the other.
        exactly: Whether settings that only change rounding count too.

    Returns:
        ``name: value before -> value now``, for each.
    """
    ignored = ("nothing",) if exactly else ("nothing", "rounding")
    ours = flat_settings(asdict(settings))
    # Settings that came later have their defaults, those that are gone do not count.
    theirs = flat_settings(asdict(Settings())) | flat_settings(before)
    for flat in (ours, theirs):  # earlier versions kept paths as they were typed
        for name in ("data.path", "names"):
            flat[name] = absolute_path(flat[name])
        for name, default in _LEFT_OPEN.items():
            flat[name] = default if flat[name] is None else flat[name]
    for name in ("views.mean", "views.std"):  # of grey images, once they are known
        if len(theirs[name]) == 1 and len(ours[name]) == 3:
            ours[name] = grey_normalize(ours[name])
    return [
        f"{name}: {theirs[name]} -> {ours[name]}"
        for name, info in sorted(field_infos(settings))
        # As text too: trainer.devices was "1" once.
        if theirs[name] != ours[name] and str(theirs[name]) != str(ours[name])
        if info.effect not in ignored
    ]


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Full names of all settings to their values."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{k}": v for k, v in flat_settings(value).items()}
        else:
            flat[name] = value
    return flat
