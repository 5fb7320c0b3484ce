"""How the networks of a run look at new images: exactly as at its own."""

from __future__ import annotations

from collections.abc import Callable
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
#: :func:`~hadis_lightly.inference.network_outputs` returns.
Outputs = Callable[[Tensor], tuple[Tensor, ...]]


def outputs_of(
    model: nn.Module,
    images: Tensor,
    half: torch.dtype | None,
    partition: Partition,
    feature_dtype: torch.dtype = torch.float16,
) -> Outputs:
    """Makes networks fast, in a precision that changes nothing.

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

        def as_in_bank(images: Tensor) -> tuple[Tensor, ...]:
            features = backbone.reduced(features_of(images).to(feature_dtype))
            return network_outputs(model, features.float())

        return as_in_bank
    fast: Any = folded(model, images) if images.device.type == "cpu" else model
    if half is None:
        return partial(network_outputs, fast)
    context = accurate_precision(
        fast,
        images,
        partial(torch.autocast, images.device.type, dtype=half),
        partition.predict,
    )

    def in_precision(images: Tensor) -> tuple[Tensor, ...]:
        with context():
            return network_outputs(fast, images)

    return in_precision
