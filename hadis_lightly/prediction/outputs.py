"""How the networks of a run look at new images: exactly as at its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hadis_lightly.cluster import Partition
from hadis_lightly.features import BackbonePass
from hadis_lightly.folding import folded
from hadis_lightly.inference import accurate_precision, network_outputs
from hadis_lightly.models import FrozenBackbone

#: From plain images ``(n, c, h, w)`` to what
#: :func:`~hadis_lightly.inference.network_outputs` returns, and points ``(n, d)`` that
#: tell outliers.
Outputs = Callable[[Tensor], tuple[tuple[Tensor, ...], Tensor]]


def outputs_of(
    model: nn.Module,
    images: Tensor,
    half: torch.dtype | None,
    partition: Partition,
    feature_dtype: torch.dtype = torch.float16,
) -> Outputs:
    """Makes networks fast, in a precision that agrees with float32.

    Args:
        model: Networks of a run, in evaluation mode.
        images: A first batch of plain images, ``(n, c, h, w)``.
        half: Half precision of the run, if this device has it; None for float32.
        partition: Clusters of the run.
        feature_dtype: What the features of a frozen backbone were rounded to.
    """
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, FrozenBackbone):
        features_of = BackbonePass(backbone.module, images, half is not None)

        def as_in_bank(images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
            features = backbone.reduced(features_of(images).to(feature_dtype))
            outputs = network_outputs(model, features.float())
            return outputs, backbone.outlier_points(features)

        return as_in_bank
    fast: Any = folded(model, images) if images.device.type == "cpu" else model
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    if half is not None:
        context = accurate_precision(
            fast,
            images,
            partial(torch.autocast, images.device.type, dtype=half),
            partition.predict,
        )

    def in_precision(images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        with context():
            outputs = network_outputs(fast, images)
        return outputs, outputs[0]

    return in_precision


def check_device(device: str) -> torch.device:
    """The device of that name; ``auto`` is a CUDA device if there is one.

    Raises:
        ValueError: If there is no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device must be auto, cpu, cuda or mps, got {device!r}.")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device is {device}, but PyTorch finds no MPS device.")
    if found.type == "cuda":
        n = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if n <= (found.index or 0):
            raise ValueError(f"device is {device}, but PyTorch finds {n} CUDA devices.")
    return found
