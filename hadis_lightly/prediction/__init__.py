"""A checkpoint and new images in, a table of clusters out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hadis_lightly.lazy import lazy_names
from hadis_lightly.prediction.onnx_predictor import OnnxPrediction, OnnxPredictor

if TYPE_CHECKING:
    from hadis_lightly.prediction.predictor import ClusterPredictor, Prediction

# Imported when asked for: an exported model needs no PyTorch.
__getattr__, __dir__ = lazy_names(
    __name__, {"ClusterPredictor": "predictor", "Prediction": "predictor"}
)

__all__ = ["ClusterPredictor", "OnnxPrediction", "OnnxPredictor", "Prediction"]
