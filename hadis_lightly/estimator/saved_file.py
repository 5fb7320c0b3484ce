"""A fitted estimator as bytes: a checkpoint without what only a training needs."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.utilities.seed import isolate_rng

from hadis_lightly.artifacts import CheckpointError, load_checkpoint
from hadis_lightly.atomic import atomic_write
from hadis_lightly.prediction import ClusterPredictor

# Where a checkpoint has what an estimator adds.
_KEY = "image_clusterer"
_OF_TRAINING = ("optimizer_states", "lr_schedulers")


def checkpoint_bytes(folder: Path) -> bytes:
    """The checkpoint of a run, smaller by the state of its optimiser."""
    content = load_checkpoint(folder).content
    return _to_bytes({n: v for n, v in content.items() if n not in _OF_TRAINING})


def predictor_from(checkpoint: bytes, device: str) -> ClusterPredictor:
    """Loads networks and clusters; see :meth:`ClusterPredictor.from_checkpoint`."""
    # Networks are initialised at random before their weights are loaded.
    with tempfile.TemporaryDirectory() as folder, isolate_rng():
        path = Path(folder) / "estimator.ckpt"
        path.write_bytes(checkpoint)
        return ClusterPredictor.from_checkpoint(path, device)


def write_saved(
    path: str | os.PathLike[str],
    checkpoint: bytes,
    params: Mapping[str, Any],
    fitted: Mapping[str, Any],
) -> None:
    """Writes a checkpoint with the arguments and attributes of an estimator.

    Args:
        path: The file.
        checkpoint: From :func:`checkpoint_bytes`.
        params: Arguments by name, plain.
        fitted: Attributes by name: arrays, or plain values.
    """
    content = torch.load(io.BytesIO(checkpoint), weights_only=True)
    attributes = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in fitted.items()
    }
    content[_KEY] = {"params": dict(params), "fitted": attributes}
    with atomic_write(Path(path), "wb") as file:
        torch.save(content, file)


def read_saved(
    path: str | os.PathLike[str],
) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
    """Reads the three that :func:`write_saved` was given; code is refused, not run.

    Raises:
        CheckpointError: If the file cannot be read, or is another one.
    """
    content = load_checkpoint(os.fspath(path)).content
    kept = content.pop(_KEY, None)
    if not isinstance(kept, dict):
        raise CheckpointError(
            f"{os.fspath(path)!r} was not written by ImageClusterer.save; "
            "of a run, give its folder."
        )
    fitted = {
        name: value.numpy() if isinstance(value, torch.Tensor) else value
        for name, value in kept["fitted"].items()
    }
    return _to_bytes(content), kept["params"], fitted


def _to_bytes(content: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    torch.save(dict(content), file)
    return file.getvalue()
