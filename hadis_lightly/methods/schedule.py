"""Lengths of warm-ups and phases, in epochs: defaults that fit the run, and checks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings

_PAPER_WARMUP = 50


def count_epochs(settings: Settings, num_images: int, world_size: int) -> int:
    """Epochs of a run: ``trainer.max_epochs``, unless ``trainer.max_steps`` ends it."""
    trainer = settings.trainer
    if trainer.max_steps < 0:
        return trainer.max_epochs
    passes = passes_of(settings, num_images, world_size)
    steps = passes * num_images // (settings.loader.batch_size * world_size)
    return min(trainer.max_epochs, math.ceil(trainer.max_steps / steps))


def passes_of(settings: Settings, num_images: int, world_size: int) -> int:
    """How often an epoch goes over all images: once, unless heads learn from few."""
    if settings.model.train != "heads":
        return 1
    at_once = settings.loader.batch_size * world_size
    return math.ceil(settings.features.min_steps * at_once / num_images)


def describe_schedule(schedule: Mapping[str, int]) -> str:
    """The warm-ups and phases: ``optimizer.warmup_epochs 12, ...``."""
    return ", ".join(f"{name} {epochs}" for name, epochs in schedule.items())


def optimizer_warmup(settings: Settings) -> int:
    """``optimizer.warmup_epochs``; None is a quarter of the run, at most the paper's.

    Of heads, which learn fast, it is a fifteenth.

    Raises:
        SettingsError: If the learning rate would rise until the end.
    """
    epochs = settings.optimizer.warmup_epochs
    if epochs is None and settings.model.train == "heads":
        epochs = settings.trainer.max_epochs // 15
    elif epochs is None:
        epochs = min(_PAPER_WARMUP, settings.trainer.max_epochs // 4)
    lost = "the learning rate would never reach its highest value"
    check_ends_early(settings, "optimizer.warmup_epochs", epochs, lost)
    return epochs


def check_ends_early(settings: Settings, name: str, epochs: int, lost: str) -> None:
    """Checks that a warm-up or a phase leaves epochs for what follows it.

    Args:
        settings: All settings; ``trainer.max_epochs`` is the length of the run.
        name: Full name of the setting that gives the length of the warm-up.
        epochs: Its value.
        lost: What would never happen otherwise, as a clause.

    Raises:
        SettingsError: If the run ends before or with it.
    """
    num_epochs = settings.trainer.max_epochs
    if epochs >= num_epochs and settings.model.train != "nothing":
        length = "1 epoch" if num_epochs == 1 else f"{num_epochs} epochs"
        raise SettingsError(
            f"{name} is {epochs}, but the run has only {length}: {lost}. Set it below "
            f"{num_epochs}, or to null for a default that fits, or train longer."
        )
