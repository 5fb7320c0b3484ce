"""The random crops of the views alone, for processes that decode images."""

from __future__ import annotations

import numpy as np
import torch
from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as T
from PIL import Image
from torch import Tensor

from hadis_lightly.transforms.validation import (
    check_image,
    check_min_scale,
    check_size,
)


class HaDisCropTransform:
    """The random resized crops of :class:`HaDisTransform`, and nothing after them.

    For images of different sizes, which cannot be put into a batch as they are: a
    worker process crops, and :class:`BatchedViews` does the rest on the device, to
    uint8 crops ``(n, num_views, c, input_size, input_size)``.

    Args:
        input_size: Height and width of a crop in pixels.
        min_scale: Smallest area of the crop, as a fraction of the image.
        num_views: Number of crops.

    Shape:
        PIL image of mode ``RGB`` or ``L`` to uint8
        ``(num_views, c, input_size, input_size)``.

    Raises:
        ValueError: if a setting lies outside its range, naming it and its value.

    Example:
        >>> HaDisCropTransform(input_size=32)(Image.new("RGB", (40, 30))).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, input_size: int = 32, min_scale: float = 0.08, num_views: int = 2
    ) -> None:
        check_size("input_size", input_size)
        check_min_scale(min_scale)
        check_size("num_views", num_views)
        self.num_views = num_views
        self._crop = T.RandomResizedCrop(size=input_size, scale=(min_scale, 1.0))

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns random crops of the image, each with draws of its own."""
        check_image(image)
        crops = [np.asarray(self._crop(image)) for _ in range(self.num_views)]
        pixels = torch.from_numpy(np.stack(crops))  # (v, s, s) or (v, s, s, c)
        if pixels.ndim == 3:
            return pixels.unsqueeze(1)
        return pixels.permute(0, 3, 1, 2).contiguous()
