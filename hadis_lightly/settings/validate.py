"""Checks of all settings, before any data are read."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hadis_lightly.backbone_names import PIXELS, check_backbone_name
from hadis_lightly.fields import check_fields
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings
from hadis_lightly.settings.views import ViewSettings


def check_settings(settings: Settings) -> None:
    """Checks what can be known before the data are read.

    Raises:
        SettingsError: Names the setting and its value.
    """
    if settings.n_clusters == "???":
        raise SettingsError("n_clusters is needed, there is no default.")
    check_section(settings)
    settings.n_clusters_range()
    model, trainer = settings.model, settings.trainer
    num_channels = settings.data.num_channels
    if trainer.max_steps == 0:
        raise SettingsError("trainer.max_steps must be -1 or at least 1, got 0.")
    devices = trainer.devices
    if devices != "auto" and not (str(devices).isdecimal() and int(devices) > 0):
        raise SettingsError(f"trainer.devices must be auto or >= 1, got {devices!r}.")
    if model.train == "heads" and settings.method == "pici":
        raise SettingsError(
            "model.train=heads needs a backbone by name; method=pici trains a "
            "masked autoencoder of its own: set model.train=all model.weights=null."
        )
    has_weights = model.weights is not None or model.backbone == PIXELS
    if model.train != "all" and not has_weights:
        raise SettingsError(
            f"model.train={model.train} takes features of a pretrained backbone: set "
            "model.weights=pretrained or model.weights=FILE, or train from random "
            "weights with model.train=all."
        )
    if model.train != "all" and trainer.precision not in ("auto", "32-true"):
        raise SettingsError(
            f"trainer.precision is {trainer.precision}, but with "
            f"model.train={model.train} all but the backbone computes in float32, and "
            "the backbone as fast as is accurate: leave it at auto."
        )
    if settings.data.cache.lower() in ("null", "none", "true", "false", "on"):
        raise SettingsError(
            f"data.cache must be auto, off or a folder, got {settings.data.cache!r}."
        )
    if num_channels not in (None, 1, 3):
        raise SettingsError(f"data.num_channels must be 1 or 3, got {num_channels}.")
    if trainer.logger in ("wandb", "mlflow") and find_spec(trainer.logger) is None:
        raise SettingsError(
            f"trainer.logger is {trainer.logger}, which is not installed: pip install "
            f"{trainer.logger}."
        )
    try:
        settings.views.check("views.")
    except (TypeError, ValueError) as error:
        raise SettingsError(str(error)) from None
    _check_views(settings)
    check_output_dir(settings.output_dir)
    try:
        check_backbone_name(model.backbone)
    except ValueError as error:
        raise SettingsError(f"model.{error}") from None


def _check_views(settings: Settings) -> None:
    """Raises unless the training can have views of such numbers and sizes."""
    method, train = settings.method, settings.model.train
    numbers, reasons = ("n_views", "n_local_views"), {}
    if method in ("cc", "pici"):
        reasons = dict.fromkeys(numbers, f"method={method} compares two views")
    if method == "pici":
        reasons["initial_size"] = "method=pici has patches of one size"
    if train != "all":
        reasons |= dict.fromkeys(numbers, f"model.train={train} has features.n_views")
        reasons["initial_size"] = f"model.train={train} makes its views but once"
    usual = ViewSettings()
    for name, reason in reasons.items():
        value, default = getattr(settings.views, name), getattr(usual, name)
        if value != default:
            needed = "null" if default is None else default
            raise SettingsError(
                f"views.{name} must be {needed}, got {value}: {reason}."
            )


def check_section(section: Any) -> None:
    """Checks type, range and choices of every setting of a dataclass.

    Raises:
        SettingsError: Names the setting and its value.
    """
    try:
        check_fields(section)
    except (TypeError, ValueError) as error:
        raise SettingsError(str(error)) from None


def check_output_dir(path: str | None) -> None:
    """Raises SettingsError unless a folder exists or can be made."""
    if path is None:
        return
    folder = Path(os.path.abspath(path))
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(folder)
    except OSError as error:  # such as a name that is too long
        raise SettingsError(f"output_dir is {path!r}: {error.strerror}.") from None
    existing = next(f for f in (folder, *folder.parents) if os.path.lexists(f))
    if not existing.is_dir():
        raise SettingsError(
            f"output_dir is {path!r}, but {str(existing)!r} is not a folder."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SettingsError(
            f"output_dir is {path!r}, but {str(existing)!r} is not writable."
        )


def check_exists(name: str, path: Any) -> None:
    """Raises SettingsError unless there is a file or folder at a path, or at each.

    Args:
        name: Full name of the setting.
        path: A path or a list of them; None, and ``-`` for standard input, pass.
    """
    for one in [path] if isinstance(path, str) else path or []:
        if one != "-" and not os.path.exists(os.path.expanduser(one)):
            raise SettingsError(f"{name}: {one!r} does not exist.")
