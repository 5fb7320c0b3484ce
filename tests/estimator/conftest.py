"""Photos, and an estimator that was fitted to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hadis_lightly import ImageClusterer
from tests.estimator.small_clusterer import small_clusterer
from tests.photo_runs import photos
from tests.runs.heads_run import write_weights

__all__ = ["photos"]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def fitted(weights: Path, photos: Path) -> ImageClusterer:
    return small_clusterer(weights).fit(photos)
