"""Settings of a recipe, with some of them changed as on a command line."""

from __future__ import annotations

import functools
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hadis_lightly.settings.sections import Settings

BENCHMARKS = Path(__file__).parent


@functools.cache
def recipe_of(dataset: str) -> dict[str, Any]:
    """What the recipe of a data set defines: ``SETTINGS``, perhaps ``METHODS``."""
    recipes = (
        BENCHMARKS if dataset == "small_cifar10" else BENCHMARKS.parent / "recipes"
    )
    return runpy.run_path(str(recipes / f"{dataset}.py"))


def changed(settings: Settings, words: Sequence[str]) -> Settings:
    """The settings with some changed; those that were given stay as they are.

    Args:
        settings: All settings.
        words: Each ``name=value``, with the full name.

    Raises:
        OmegaConfBaseException: If a setting does not exist, or has a value of another
            type.
    """
    schema = OmegaConf.structured(settings)
    merged = OmegaConf.merge(schema, OmegaConf.from_dotlist(list(words)))
    result: Settings = OmegaConf.to_object(merged)  # type: ignore[assignment]
    return result
