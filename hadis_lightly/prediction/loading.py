"""The predictor of a run, by PyTorch or exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hadis_lightly.prediction.onnx_predictor import OnnxPredictor

if TYPE_CHECKING:
    from hadis_lightly.prediction.predictor import ClusterPredictor


def load_predictor(
    checkpoint: str | Path, device: str = "auto"
) -> ClusterPredictor | OnnxPredictor:
    """Loads networks and clusters of a run.

    Args:
        checkpoint: The folder of a run, a checkpoint in it, or an ``.onnx`` file that
            ``hadis-lightly-export`` wrote, which needs no PyTorch.
        device: ``auto``, ``cpu``, ``cuda``, ...

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        ValueError: If the ONNX file cannot be read, or there is no such device.
    """
    if str(checkpoint).endswith(".onnx"):
        return OnnxPredictor(checkpoint, device)
    # Only now: it imports PyTorch.
    from hadis_lightly.prediction.predictor import ClusterPredictor

    return ClusterPredictor.from_checkpoint(checkpoint, device)
