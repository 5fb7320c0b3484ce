"""A checkpoint and new images in, a table of clusters out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hadis_lightly.lazy import lazy_names
from hadis_lightly.prediction.loading import load_predictor
from hadis_lightly.prediction.onnx_predictor import OnnxPrediction, OnnxPredictor

if TYPE_CHECKING:
    from hadis_lightly.prediction.predictor import ClusterPredictor, Prediction
    from hadis_lightly.prediction.studio_embedder import StudioEmbedder

# Imported when asked for: an exported model needs no PyTorch, and only the embedder of
# Lightly Studio needs that.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ClusterPredictor": "predictor",
        "Prediction": "predictor",
        "StudioEmbedder": "studio_embedder",
    },
)

__all__ = [
    "ClusterPredictor",
    "OnnxPrediction",
    "OnnxPredictor",
    "Prediction",
    "StudioEmbedder",
    "load_predictor",
]
