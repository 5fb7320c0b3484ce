"""Checks of all settings, before any data are read."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from hadis_lightly.fields import check_fields
from hadis_lightly.settings.environment import (
    check_backbone_name,
    check_machine,
    check_output_dir,
)
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings


def check_settings(settings: Settings) -> None:
    """Checks what can be known before the data are read.

    Raises:
        SettingsError: Names the setting and its value.
    """
    if settings.n_clusters == "???":  # type: ignore[comparison-overlap]
        raise SettingsError("n_clusters is needed, there is no default.")
    check_section(settings)
    model, trainer = settings.model, settings.trainer
    num_channels = settings.data.num_channels
    if trainer.max_steps == 0:
        raise SettingsError("trainer.max_steps must be -1 or at least 1, got 0.")
    if model.freeze_backbone and model.weights is None:
        raise SettingsError(
            "model.freeze_backbone trains nothing: it needs model.weights=FILE."
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
    check_output_dir(settings.output_dir)
    check_backbone_name(model.backbone)
    check_machine(trainer)


def check_section(section: Any) -> None:
    """Checks type, range and choices of every setting of a dataclass.

    Raises:
        SettingsError: Names the setting and its value.
    """
    try:
        check_fields(section)
    except (TypeError, ValueError) as error:
        raise SettingsError(str(error)) from None
