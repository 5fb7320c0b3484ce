"""The views of torchvision v2 and kornia, made for whole batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from hadis_lightly.transforms.view_distribution import ViewDistribution

try:
    import kornia.augmentation as kornia
except ImportError:
    kornia = None

Make = Callable[[Tensor], Any]


def blur_size(view: ViewDistribution) -> int:
    """Side of a blur's kernel: 3 standard deviations, less than can be mirrored."""
    return 2 * min(math.ceil(3 * view.blur_sigmas[1]), view.size - 1) + 1


def torchvision_view(view: ViewDistribution) -> v2.Compose:
    """The view in torchvision's transforms, in uint8 for as long as possible."""
    jitter = v2.ColorJitter(*view.jitter)
    blur = v2.GaussianBlur(blur_size(view), view.blur_sigmas)
    steps = [
        v2.RandomResizedCrop(view.size, view.crop_scale, view.crop_ratio),
        v2.RandomHorizontalFlip(view.horizontal_flip_prob),
        v2.RandomApply([jitter], view.jitter_prob),
        v2.RandomGrayscale(view.gray_prob),
        v2.RandomApply([blur], view.blur_prob),
        v2.RandomSolarize(view.solarize_threshold, view.solarize_prob),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(view.mean, view.std),
    ]
    return v2.Compose(steps)


def kornia_view(view: ViewDistribution) -> torch.nn.Sequential:
    """The view in kornia's augmentations, with own draws for each image."""
    threshold = view.solarize_threshold / 255
    kernel = (blur_size(view),) * 2
    return torch.nn.Sequential(
        kornia.RandomResizedCrop(
            (view.size, view.size),
            view.crop_scale,
            view.crop_ratio,
            cropping_mode="resample",  # all images at once; "slice" goes one by one
        ),
        kornia.RandomHorizontalFlip(p=view.horizontal_flip_prob),
        kornia.ColorJitter(*view.jitter, p=view.jitter_prob),
        kornia.RandomGrayscale(p=view.gray_prob),
        kornia.RandomGaussianBlur(kernel, view.blur_sigmas, p=view.blur_prob),
        kornia.RandomSolarize((threshold, threshold), (0.0, 0.0), p=view.solarize_prob),
        kornia.Normalize(torch.tensor(view.mean), torch.tensor(view.std)),
    )


def views_of_libraries(
    views: tuple[ViewDistribution, ...], device: str
) -> dict[str, Make]:
    """Other libraries that make views of whole batches."""
    torchvision = [torchvision_view(view) for view in views]
    name = "torchvision v2, one draw per batch"
    found: dict[str, Callable[[Tensor], Any]] = {
        name: lambda batch: [view(batch) for view in torchvision]
    }
    if kornia is None:
        print("kornia is not installed: skipped")
    else:
        of_kornia = [kornia_view(view).to(device) for view in views]

        @torch.no_grad()
        def make(batch: Tensor) -> list[Tensor]:
            x = batch.float() / 255
            return [view(x) for view in of_kornia]

        found["kornia"] = make
    return found
