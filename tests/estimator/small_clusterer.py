"""Estimators that are fitted in a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hadis_lightly import ImageClusterer

#: The same settings as words of a command.
SETTINGS: dict[str, Any] = {
    "model.hidden_dim": 16,
    "model.output_dim": 8,
    "features.n_views": 4,
    "features.n_components": 16,
    "features.n_neighbours": 5,
    "features.min_steps": 4,
    "loader.batch_size": 32,
    "loader.num_workers": 0,
    "clustering.n_init": 2,
    "data.on_error": "skip",
    "views.mean": [0.3, 0.3, 0.3],
    "views.std": [0.4, 0.4, 0.4],
}


def small_clusterer(weights: Path, **params: Any) -> ImageClusterer:
    """An estimator for three clusters, heads on features of a tiny backbone."""
    own = {
        "n_clusters": 3,
        "backbone": "small_convnet",
        "weights": weights,
        "input_size": 16,
        "max_epochs": 3,
        "settings": SETTINGS,
        "device": "cpu",
    }
    return ImageClusterer(**{**own, **params})
