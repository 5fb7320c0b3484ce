"""Features of images by a backbone, in the fastest precision that is exact enough."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.folding import folded
from hadis_lightly.inference import slices_of
from hadis_lightly.precision import has_native_bfloat16

# Images whose features half precision has to reproduce, and how closely.
_NUM_COMPARED = 32
_LEAST_COSINE = 0.999


class BackbonePass:
    """The features of a backbone, in half precision where that agrees with float32.

    It agrees if the cosine between the features of the first images in both is at least
    0.999. Half precision is float16 on a GPU and bfloat16 on a CPU that has it. Where
    it overflows later, a batch is computed again in float32.

    Args:
        backbone: From images to features; in evaluation mode.
        images: A first batch of plain images, ``(n, c, h, w)``.
        is_half: Whether it is half precision; by default the images decide.
    """

    def __init__(
        self, backbone: nn.Module, images: Tensor, is_half: bool | None = None
    ) -> None:
        on_cpu = images.device.type == "cpu"
        self.backbone = folded(backbone, images) if on_cpu else backbone
        self.half: torch.dtype | None = None
        if is_half is not None:
            self.half = _half(images.device) if is_half else None
            return
        half, first = _half(images.device), images[:_NUM_COMPARED]
        if half is not None:
            cosines = F.cosine_similarity(
                self._features(first, half), self._features(first, None), dim=1
            )
            if (cosines >= _LEAST_COSINE).all():  # not if NaN
                self.half = half

    def __call__(self, images: Tensor) -> Tensor:
        """Features ``(n, d)``, flattened, not normalised, in float32."""
        features = self._features(images, self.half)
        if self.half is not None and not features.isfinite().all():
            features = self._features(images, None)
        return features

    @torch.no_grad()
    def _features(self, images: Tensor, half: torch.dtype | None) -> Tensor:
        precision: AbstractContextManager[Any] = nullcontext()
        if half is not None:
            precision = torch.autocast(images.device.type, half)
        with precision:
            parts = [self.backbone(part).flatten(1) for part in slices_of(images)]
        return torch.cat(parts).float()


def _half(device: torch.device) -> torch.dtype | None:
    """The fast dtype of a device; None if there is none."""
    if device.type == "cuda":
        return torch.float16
    is_fast = device.type == "cpu" and has_native_bfloat16()
    return torch.bfloat16 if is_fast else None
