"""What a table of predictions needs of a predictor."""

from __future__ import annotations

from typing import Any, Protocol

from PIL import Image


class Predictor(Protocol):
    """A :class:`ClusterPredictor` or an :class:`OnnxPredictor`."""

    num_channels: int
    decode_size: int

    def transform_plain(self, image: Image.Image) -> Any:
        """A tensor or array of what ``read_image`` returns."""

    def predict_plain(self, images: list[Any]) -> Any:
        """Labels, confidence, distance and embeddings of some of these."""
