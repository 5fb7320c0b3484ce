"""PyTorch's resizing of byte images on a CPU, in NumPy, to the last bit."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

# PyTorch keeps weights as 16-bit integers.
_LARGEST = 1 << 15


def resize_bytes(image: Bytes, height: int, width: int, interpolation: str) -> Bytes:
    """What ``interpolate(..., antialias=True)`` makes of a byte image on a CPU.

    Rows first, then columns, each rounded to bytes. Pillow does the same with finer
    weights: its pixels differ by one level at most.

    Args:
        image: uint8 ``(h, w, c)``.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
    """
    rows = _resized(image.swapaxes(0, 1), width, interpolation).swapaxes(0, 1)
    return _resized(rows, height, interpolation)


def _resized(image: Bytes, size: int, interpolation: str) -> Bytes:
    """An image resized along its first axis."""
    if len(image) == size:
        return image
    places, weights, precision = _taps(len(image), size, interpolation)
    total = np.full((size, *image.shape[1:]), 1 << (precision - 1), np.int32)
    for place, weight in zip(places, weights, strict=True):
        total += weight[:, None, None] * image[place]
    resized: Bytes = np.clip(total >> precision, 0, 255).astype(np.uint8)
    return resized


@lru_cache(maxsize=64)
def _taps(
    old: int, new: int, interpolation: str
) -> tuple[Ints, npt.NDArray[np.int32], int]:
    """Places ``(taps, new)``, weights of the same shape, and bits of the weights."""
    kernel, reach = (_bicubic, 2) if interpolation == "bicubic" else (_bilinear, 1)
    scale = old / new
    stretch = max(scale, 1.0)
    centers = scale * (np.arange(new) + 0.5)
    first = np.maximum((centers - reach * stretch + 0.5).astype(int), 0)
    last = np.minimum((centers + reach * stretch + 0.5).astype(int), old)
    places = first + np.arange(2 * math.ceil(reach * stretch) + 1)[:, None]
    weights = kernel((places - centers + 0.5) / stretch)
    weights[places >= last] = 0
    weights /= weights.sum(axis=0)
    precision = 0
    while int(0.5 + weights.max() * 2 ** (precision + 1)) < _LARGEST and precision < 22:
        precision += 1
    scaled = weights * 2**precision
    rounded = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32)
    return np.minimum(places, old - 1), rounded, precision


def _bilinear(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    triangle: npt.NDArray[np.float64] = np.maximum(1 - np.abs(x), 0)
    return triangle


def _bicubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
