"""Clustering images with scikit-learn's manners."""

from __future__ import annotations

from hadis_lightly.estimator.image_clusterer import ImageClusterer

__all__ = ["ImageClusterer"]
