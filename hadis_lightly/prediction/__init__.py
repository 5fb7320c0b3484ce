"""A checkpoint and new images in, a table of clusters out."""

from __future__ import annotations

from hadis_lightly.prediction.predictor import ClusterPredictor, Prediction

__all__ = ["ClusterPredictor", "Prediction"]
