"""Checks of the settings of a view, so that a wrong one is named when it is given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from PIL import Image

from hadis_lightly.checks import is_number

#: Number of channels of the PIL modes that the transforms take.
CHANNELS = {"L": 1, "RGB": 3}


def check_size(name: str, value: int) -> None:
    """Raises unless ``value`` is an integer of at least 1.

    Example:
        >>> check_size("input_size", 0)
        Traceback (most recent call last):
        ValueError: input_size must be an integer >= 1, got 0
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
    if value >= 2**31:
        raise ValueError(f"{name} must be below 2**31, got {value!r}")


def check_between(lower: float, upper: float, **values: float) -> None:
    """Raises unless every named value is a number in ``[lower, upper]``.

    Example:
        >>> check_between(0.0, 1.0, hf_prob=0.5, cj_prob=1.5)
        Traceback (most recent call last):
        ValueError: cj_prob must be in [0, 1], got 1.5
    """
    for name, value in values.items():
        if not is_number(value) or not lower <= value <= upper:
            limits = f"in [{lower:g}, {upper:g}]"
            if upper == math.inf:
                limits = f">= {lower:g}"
            raise ValueError(f"{name} must be {limits}, got {value!r}")


def check_min_scale(min_scale: float) -> None:
    """Raises unless ``min_scale`` is a number in ``(0, 1]``.

    Example:
        >>> check_min_scale(0.0)
        Traceback (most recent call last):
        ValueError: min_scale must be in (0, 1], got 0.0
    """
    if not is_number(min_scale) or not 0 < min_scale <= 1:
        raise ValueError(f"min_scale must be in (0, 1], got {min_scale!r}")


def check_range(name: str, value: Sequence[float], lower: float = -math.inf) -> None:
    """Raises unless ``value`` is a pair ``(low, high)``, ``lower <= low <= high``.

    Example:
        >>> check_range("sigmas", (2.0, 0.1))
        Traceback (most recent call last):
        ValueError: sigmas must be a pair (low, high) with low <= high, got (2.0, 0.1)
    """
    is_pair = (
        isinstance(value, Sequence) and len(value) == 2 and all(map(is_number, value))
    )
    if not is_pair or not lower <= value[0] <= value[1]:
        least = "" if lower == -math.inf else f"{lower:g} <= "
        raise ValueError(
            f"{name} must be a pair (low, high) with {least}low <= high, got {value!r}"
        )


def check_normalize(normalize: Mapping[str, Sequence[float]]) -> None:
    """Raises unless ``normalize`` has as many means as positive standard deviations.

    Example:
        >>> check_normalize({"mean": [0.5], "std": [0.0]})
        Traceback (most recent call last):
        ValueError: normalize['std'] must be > 0, got [0.0]
    """
    if not isinstance(normalize, Mapping) or set(normalize) != {"mean", "std"}:
        raise ValueError(
            f"normalize must be a dict with keys 'mean' and 'std', got {normalize!r}"
        )
    for name, values in normalize.items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ValueError(f"normalize[{name!r}] must be a list, got {values!r}")
    mean, std = list(normalize["mean"]), list(normalize["std"])
    if len(mean) not in (1, 3) or len(mean) != len(std):
        raise ValueError(
            "normalize must have 1 or 3 entries in each of 'mean' and 'std', "
            f"got {len(mean)} and {len(std)}"
        )
    if not all(is_number(value) for value in mean + std):
        raise ValueError(f"normalize must hold finite numbers, got {normalize!r}")
    if min(std) <= 0:
        raise ValueError(f"normalize['std'] must be > 0, got {std}")
    if not 1e-6 <= min(std) <= max(std) <= 1e6 or max(map(abs, mean)) > 1e6:
        raise ValueError(
            "normalize must have means within +-1e6 and deviations from 1e-6 to 1e6, "
            f"got {mean} and {std}"
        )


def check_image(image: object) -> None:
    """Raises unless ``image`` is a PIL image of mode ``L`` or ``RGB``, with pixels.

    Example:
        >>> check_image(Image.new("CMYK", (2, 2)))
        Traceback (most recent call last):
        ValueError: image must have mode L or RGB, got CMYK: convert it first
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"image must be a PIL image, got {type(image).__name__}")
    if image.mode not in CHANNELS:
        raise ValueError(
            f"image must have mode L or RGB, got {image.mode}: convert it first"
        )
    if 0 in image.size:
        raise ValueError(f"image must have pixels, got size {image.size}")


def check_bytes(images: object) -> None:
    """Raises unless ``images`` are a uint8 tensor that has values.

    Example:
        >>> check_bytes(torch.zeros(1, 3, 2, 2))
        Traceback (most recent call last):
        TypeError: images must be uint8 (0 to 255), got torch.float32
    """
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"images must be a tensor, got {type(images).__name__}")
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8 (0 to 255), got {images.dtype}")
    if images.is_meta:
        raise ValueError("images must have values, got a tensor on the meta device")


def check_batch(images: object, num_views: int, mean: Sequence[float] | None) -> None:
    """Raises unless ``images`` are a batch, or crops for each of the views.

    Args:
        images: uint8 ``(n, c, h, w)`` or ``(n, num_views, c, h, w)``.
        num_views: Number of views.
        mean: That of the normalisation; one for each channel.
    """
    check_bytes(images)
    assert isinstance(images, torch.Tensor)
    shape = tuple(images.shape)
    are_crops = images.ndim == 5 and shape[1] == num_views
    if not (images.ndim == 4 or are_crops) or shape[-3] not in (1, 3):
        raise ValueError(
            f"images must have shape (n, c, h, w) or (n, {num_views}, c, h, w) with c "
            f"1 or 3, got {shape}"
        )
    if 0 in shape[-2:]:
        raise ValueError(f"images must have pixels, got shape {shape}")
    if mean is not None and len(mean) != shape[-3]:
        raise ValueError(
            f"normalize has {len(mean)} channel(s) but the images have {shape[-3]}"
        )


def check_keys(keys: object, n: int) -> None:
    """Raises unless ``keys`` are ``n`` integers in a tensor.

    Example:
        >>> check_keys(torch.zeros(2), 2)
        Traceback (most recent call last):
        TypeError: keys must be an integer tensor, got torch.float32
    """
    kind = getattr(keys, "dtype", type(keys).__name__)
    if not isinstance(keys, torch.Tensor) or keys.is_floating_point():
        raise TypeError(f"keys must be an integer tensor, got {kind}")
    if keys.shape != (n,):
        raise ValueError(f"keys must have shape ({n},), got {tuple(keys.shape)}")
