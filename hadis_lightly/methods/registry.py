"""All methods by name, and their settings."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from hadis_lightly.backbone_names import MASKED_VIT
from hadis_lightly.methods.backbone import resolve_views
from hadis_lightly.methods.cc import CCMethod
from hadis_lightly.methods.environment import check_backbone_of, check_machine
from hadis_lightly.methods.hadis import HaDisMethod
from hadis_lightly.methods.method import Method
from hadis_lightly.methods.pici import PICIMethod
from hadis_lightly.settings.changes import set_values
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.papers import METHOD_NAMES, paper_settings
from hadis_lightly.settings.sections import Settings
from hadis_lightly.settings.validate import check_settings

# Their names and the settings of their papers stand in settings/papers.py.
_METHODS: dict[str, Method] = {
    "hadis": HaDisMethod(),
    "propos": HaDisMethod(),
    "byol": HaDisMethod(),
    "cc": CCMethod(),
    "pici": PICIMethod(),
}
if tuple(_METHODS) != METHOD_NAMES:
    raise ImportError("METHOD_NAMES and the methods in the registry differ")


def method_of(settings: Settings) -> Method:
    """The method that the settings name."""
    paper_settings(settings.method)  # raises if there is none of that name
    return _METHODS[settings.method]


def check_run(settings: Settings) -> None:
    """Raises a SettingsError for what is wrong already before data are read."""
    check_settings(settings)
    check_backbone_of(settings.model.backbone)
    check_machine(settings.trainer)
    if settings.model.backbone == MASKED_VIT and settings.method != "pici":
        raise SettingsError(
            f"model.backbone={MASKED_VIT} goes with method=pici, not with "
            f"{settings.method}."
        )
    method = method_of(settings)
    method.check(settings)
    method.schedule(settings)


def build_model(
    settings: Settings, num_channels: int, *, with_weights: bool = True
) -> nn.Module:
    """The networks of the method, see :meth:`Method.build_model`."""
    return method_of(settings).build_model(
        settings, num_channels, with_weights=with_weights
    )


def with_method(
    settings: Settings, method: str, own: Mapping[str, Any] | None = None
) -> Settings:
    """The settings for another method: the paper's where it has its own.

    Args:
        settings: All settings, of HaDis; they stay as they are.
        method: ``hadis``, ``propos``, ``byol``, ``cc`` or ``pici``.
        own: Settings that take the place of the paper's: full names to values.

    Raises:
        SettingsError: If there is no such method or setting, or if the settings are
            those of another method already.

    Example:
        >>> with_method(Settings(), "cc").optimizer.learning_rate
        0.0003
    """
    if settings.method != method and paper_settings(settings.method):
        raise SettingsError(
            f"settings of method={settings.method} cannot be turned into those of "
            f"{method}: its own values would stay. Start from settings of HaDis."
        )
    changed = copy.deepcopy(settings)
    changed.method = method
    set_values(changed, {**paper_settings(method), **(own or {})})
    return changed


def fill_training_defaults(
    settings: Settings,
    by_training: Mapping[str, Mapping[str, Any]],
    given: Collection[str],
) -> None:
    """Fills in defaults that depend on ``model.train``, then what weights say of views.

    Args:
        settings: All settings; they are changed.
        by_training: By value of ``model.train``, full names of settings to values.
            Those of views give way to published weights.
        given: Full names of settings that stay as they are.

    Raises:
        SettingsError: If there are no such weights.
    """
    own = by_training.get(settings.model.train, {})
    own = {name: value for name, value in own.items() if name not in given}
    set_values(settings, own)
    views = [x.removeprefix("views.") for x in own if x.startswith("views.")]
    resolve_views(settings, views)


def prolonged(
    before: Mapping[str, Any], schedule: Mapping[str, int], settings: Settings
) -> dict[str, Any]:
    """Settings of a run, with a new ``trainer.max_epochs`` if it can be prolonged.

    Args:
        before: All settings of the run, as plain data.
        schedule: Full names of its warm-ups and phases to epochs.
        settings: Settings of the run that goes on from it.

    Raises:
        SettingsError: If warm-ups change with the length, naming those to give; or if
            the method cannot be prolonged.
    """
    result = copy.deepcopy(dict(before))
    epochs, length = settings.trainer.max_epochs, before["trainer"]["max_epochs"]
    if epochs <= length:
        return result
    seen = f"trainer.max_epochs is {epochs}, but the run to resume had {length}"
    if settings.method == "pici":
        raise SettingsError(
            f"{seen}. PICI's last phase is counted from the end of the training: for "
            "a longer one begin anew, without trainer.resume."
        )
    now = method_of(settings).schedule(settings) if schedule else {}
    if any(now.get(name) != n for name, n in schedule.items()):
        given = " ".join(f"{name}={n}" for name, n in schedule.items())
        raise SettingsError(
            f"{seen}. To train it for longer, keep its warm-ups: give {given}."
        )
    result["trainer"]["max_epochs"] = epochs
    for section, name in (full_name.split(".") for full_name in schedule):
        result[section][name] = getattr(getattr(settings, section), name)
    return result
