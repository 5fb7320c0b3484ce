"""What values a setting may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from typing import Any, get_args, get_type_hints

from hadis_lightly.checks import is_number
from hadis_lightly.data import SOURCE_NAMES
from hadis_lightly.settings.environment import check_possible
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import METHOD_NAMES, Settings

# Lowest and highest value allowed, both included; None where there is no bound.
_RANGES: dict[str, tuple[float | None, float | None]] = {
    "n_clusters": (2, None),
    "seed": (0, 2**32 - 1),
    "data.limit": (1, None),
    "data.max_resident_gib": (0, None),
    "loader.batch_size": (2, None),
    "loader.num_workers": (0, 1024),
    "model.hidden_dim": (1, 2**16),
    "model.output_dim": (1, 2**16),
    "model.latent_std": (0, None),
    "model.hsd_weight": (0, None),
    "model.pcl_weight": (0, None),
    "model.teacher_momentum": (0, 1),
    "model.final_teacher_momentum": (0, 1),
    "contrast.output_dim": (1, 2**16),
    "pici.patch_size": (1, 4096),
    "pici.width": (1, 2**16),
    "pici.depth": (1, 1024),
    "pici.num_heads": (1, 2**16),
    "pici.decoder_width": (1, 2**16),
    "pici.decoder_depth": (1, 1024),
    "pici.decoder_num_heads": (1, 2**16),
    "pici.mask_ratio": (0, 1),
    "pici.pretraining_epochs": (0, None),
    "pici.interaction_epochs": (0, None),
    "optimizer.prediction_head_lr_scale": (0, None),
    "optimizer.momentum": (0, 1),
    "optimizer.weight_decay": (0, None),
    "optimizer.warmup_epochs": (0, None),
    "clustering.warmup_epochs": (0, None),
    "clustering.every_n_epochs": (1, None),
    "clustering.n_init": (1, None),
    "clustering.batch_size": (1, None),
    "trainer.max_epochs": (1, None),
    "trainer.max_steps": (-1, None),
    "trainer.log_every_n_steps": (1, None),
    "trainer.checkpoint_every_n_epochs": (1, None),
    "trainer.checkpoint_every_n_minutes": (0, None),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "method": METHOD_NAMES,
    "data.source": SOURCE_NAMES,
    "data.pipeline": ("auto", "device", "workers", "lightly"),
    "data.on_error": ("raise", "skip"),
    "optimizer.fused": ("auto", "on", "off"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.strategy": ("auto", "ddp", "ddp_find_unused_parameters_true"),
    "trainer.precision": ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true"),
    "trainer.channels_last": ("auto", "on", "off"),
    "trainer.logger": ("tensorboard", "wandb", "mlflow", "none"),
    "trainer.compile": ("auto", "off", "default", "cudagraphs", "max"),
}
_POSITIVE = (
    "model.hsd_temperature",
    "model.pcl_temperature",
    "contrast.instance_temperature",
    "contrast.cluster_temperature",
    "optimizer.learning_rate",
)


def check_settings(settings: Settings) -> None:
    """Checks what can be known before the data are read.

    Raises:
        SettingsError: Names the setting and its value.
    """
    check_types(settings)
    for name, (low, high) in _RANGES.items():
        value = _get(settings, name)
        if value is None:
            continue
        if low is not None and not value >= low:
            reason = " (BatchNorm needs two)" if name == "loader.batch_size" else ""
            raise SettingsError(f"{name} must be >= {low}{reason}, got {value}.")
        if high is not None and not value <= high:
            raise SettingsError(f"{name} must be <= {high}, got {value}.")
    for name in _POSITIVE:
        value = _get(settings, name)
        if value is None or not value > 0:
            raise SettingsError(f"{name} must be > 0, got {value}.")
    if settings.trainer.max_steps == 0:
        raise SettingsError("trainer.max_steps must be -1 or at least 1, got 0.")
    if settings.model.freeze_backbone and settings.model.weights is None:
        raise SettingsError(
            "model.freeze_backbone trains nothing: it needs model.weights=FILE."
        )
    for name, choices in _CHOICES.items():
        choice = _get(settings, name)
        if choice not in choices:
            names = ", ".join(choices)
            raise SettingsError(f"{name} must be one of {names}, got {choice!r}.")
    logger = settings.trainer.logger
    if logger in ("wandb", "mlflow") and find_spec(logger) is None:
        raise SettingsError(
            f"trainer.logger is {logger}, which is not installed: pip install {logger}."
        )
    check_possible(settings)


def _get(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


# No sensible number is larger; far below what overflows.
_MAX_NUMBER = 10**12


_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a finite number",
    str: "text",
    type(None): "null",
}


def check_types(settings: Any, prefix: str = "") -> None:
    """Checks that all settings have values of their types, and finite ones.

    Args:
        settings: A dataclass of settings, and of such dataclasses.
        prefix: Comes before their names.

    Raises:
        SettingsError: Names the setting and its value.
    """
    hints = get_type_hints(type(settings))
    for name in (field.name for field in fields(settings)):
        value, hint = getattr(settings, name), hints[name]
        if is_dataclass(hint):
            if not is_dataclass(value):
                raise SettingsError(
                    f"{prefix}{name} must be a section of settings, got {value!r}."
                )
            check_types(value, f"{prefix}{name}.")
        elif not _is_of(value, hint):
            words = _in_words(hint)
            raise SettingsError(f"{prefix}{name} must be {words}, got {value!r}.")
        elif isinstance(value, (int, float)) and abs(value) > _MAX_NUMBER:
            raise SettingsError(
                f"{prefix}{name} must be at most {_MAX_NUMBER:g}, got {value}."
            )


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a value is of a type: a plain one, a list of it, or one of several."""
    if hint is float:
        return isinstance(value, (int, float)) and is_number(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and "\0" not in value
    if hint in (bool, type(None)):
        return isinstance(value, hint)
    parts = get_args(hint)
    if getattr(hint, "__origin__", None) is list:
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        return is_list and all(_is_of(item, parts[0]) for item in value)
    return any(_is_of(value, part) for part in parts)


def _in_words(hint: Any) -> str:
    if hint in _WORDS:
        return _WORDS[hint]
    parts = [_in_words(part) for part in get_args(hint)]
    if getattr(hint, "__origin__", None) is list:
        return f"a list, each {parts[0]}"
    return " or ".join(parts)
