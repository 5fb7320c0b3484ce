"""Checks of the images passed to a transform."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

#: Number of channels of the PIL modes that the transforms take.
CHANNELS = {"L": 1, "RGB": 3}


def check_image(image: object) -> None:
    """Raises unless ``image`` is a PIL image of mode ``L`` or ``RGB``, with pixels.

    Example:
        >>> check_image(Image.new("CMYK", (2, 2)))
        Traceback (most recent call last):
        ValueError: image must have mode L or RGB, got CMYK; convert it first.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"image must be a PIL image, got {type(image).__name__}.")
    if image.mode not in CHANNELS:
        raise ValueError(
            f"image must have mode L or RGB, got {image.mode}; convert it first."
        )
    if 0 in image.size:
        raise ValueError(f"image must have pixels, got size {image.size}.")


def check_batch(
    images: torch.Tensor, mean: Sequence[float] | None, num_views: int | None = None
) -> None:
    """Raises unless ``images`` are a uint8 batch that fits.

    Args:
        images: ``(n, c, h, w)``, or ``(n, num_views, c, h, w)`` if that is given.
        mean: Mean of the normalisation, one value per channel.
        num_views: Number of crops per image.
    """
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"images must be a tensor, got {type(images).__name__}.")
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8 (0 to 255), got {images.dtype}.")
    shape = tuple(images.shape)
    is_batch = len(shape) == 4 or (len(shape) == 5 and shape[1] == num_views)
    if not is_batch or shape[-3] not in (1, 3) or 0 in shape[-2:]:
        crops = "" if num_views is None else f" or (n, {num_views}, c, h, w)"
        raise ValueError(
            f"images must have shape (n, c, h, w){crops}, with c 1 or 3 and pixels, "
            f"got {shape}."
        )
    if mean and len(mean) != shape[-3]:
        raise ValueError(
            f"normalize has {len(mean)} channel(s) but the images have {shape[-3]}."
        )
