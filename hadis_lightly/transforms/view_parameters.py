"""The draws of a batch of views, made from uniform numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hadis_lightly.transforms.view_distribution import Range, ViewDistribution

# Random crops that torchvision tries before it takes a central one.
_ATTEMPTS = 10
#: Uniform numbers for one view of one image.
NUM_UNIFORMS = 2 * _ATTEMPTS + 23


class ViewParameters(NamedTuple):
    """The draws of ``v`` views of ``n`` images: float32 or bool, each ``(v, n)``."""

    top: Tensor
    """First row of the crop; like the next three, a whole number of pixels."""
    left: Tensor
    height: Tensor
    width: Tensor
    angle: Tensor
    """Rotation of the affine map in degrees, clockwise."""
    translate_x: Tensor
    """Shift of the affine map to the right, a whole number of pixels of the view."""
    translate_y: Tensor
    """Shift of the affine map downwards."""
    shear: Tensor
    """Horizontal shear of the affine map in degrees."""
    horizontal_flip: Tensor
    vertical_flip: Tensor
    rotation: Tensor
    """Angle of the rotation after the flips, in degrees, counter-clockwise."""
    factors: Tensor
    """Brightness, contrast, saturation, hue ``(v, n, 4)``; 1, 1, 1, 0 if unchanged."""
    order: Tensor
    """The order of those four, ``(v, n, 4)``, int64."""
    gray: Tensor
    sigma: Tensor
    """Standard deviation of the blur in pixels; 0 for none."""
    solarize_from: Tensor
    """Lowest value, of 0..1, that is inverted; 2 for none."""


def draw_parameters(
    views: tuple[ViewDistribution, ...], uniforms: Tensor, height: int, width: int
) -> ViewParameters:
    """Turns uniform numbers into the draws of torchvision's transforms.

    Args:
        views: The distribution of each of the ``v`` views.
        uniforms: Numbers in ``[0, 1)``, float32 ``(v, n, NUM_UNIFORMS)``.
        height: Rows of the images in pixels.
        width: Columns of the images in pixels.
    """
    if len(set(views)) == 1:  # the usual case: all views at once
        return _draw(views[0], uniforms, height, width)
    drawn = [
        _draw(view, u.unsqueeze(0), height, width)
        for view, u in zip(views, uniforms, strict=True)
    ]
    return ViewParameters(*(torch.cat(field) for field in zip(*drawn, strict=True)))


def _draw(view: ViewDistribution, u: Tensor, height: int, width: int) -> ViewParameters:
    for_crop, u = u[..., : 2 * _ATTEMPTS + 2], u[..., 2 * _ATTEMPTS + 2 :]
    top, left, crop_height, crop_width = _crop(view, for_crop, height, width)
    order, u = u[..., :4].argsort(dim=-1), u[..., 4:]
    columns = iter(u.unbind(dim=-1))
    max_x, max_y = (fraction * view.size for fraction in view.affine_translate)
    jittered = next(columns) < view.jitter_prob
    neutral = (1.0, 1.0, 1.0, 0.0)
    factors = [
        torch.where(jittered, _uniform(next(columns), limits or (none, none)), none)
        for limits, none in zip(view.jitter, neutral, strict=True)
    ]
    blurred = next(columns) < view.blur_prob
    return ViewParameters(
        top=top,
        left=left,
        height=crop_height,
        width=crop_width,
        angle=_uniform(next(columns), view.affine_degrees),
        translate_x=_uniform(next(columns), (-max_x, max_x)).round(),
        translate_y=_uniform(next(columns), (-max_y, max_y)).round(),
        shear=_uniform(next(columns), view.affine_shear),
        horizontal_flip=next(columns) < view.horizontal_flip_prob,
        vertical_flip=next(columns) < view.vertical_flip_prob,
        rotation=torch.where(
            next(columns) < view.rotation_prob,
            _uniform(next(columns), view.rotation_degrees),
            0.0,
        ),
        factors=torch.stack(factors, dim=-1),
        order=order,
        gray=next(columns) < view.gray_prob,
        sigma=torch.where(blurred, _uniform(next(columns), view.blur_sigmas), 0.0),
        solarize_from=torch.where(
            next(columns) < view.solarize_prob,
            (view.solarize_threshold - 0.5) / 255,  # where levels would be rounded
            2.0,
        ),
    )


def _uniform(u: Tensor, limits: Range) -> Tensor:
    low, high = limits
    return torch.full_like(u, low) if low == high else low + (high - low) * u


def _crop(
    view: ViewDistribution, u: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width: the first of ten draws that fits the image."""
    areas, ratios = u[..., :_ATTEMPTS], u[..., _ATTEMPTS : 2 * _ATTEMPTS]
    low, high = view.crop_ratio
    area = height * width * _uniform(areas, view.crop_scale)
    ratio = _uniform(ratios, (math.log(low), math.log(high))).exp()
    widths, heights = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.int().argmax(dim=-1, keepdim=True)
    some_fits = fits.any(dim=-1)

    def along(lengths: Tensor, place: Tensor, side: int, fallback: int) -> list[Tensor]:
        length = lengths.gather(-1, first).squeeze(-1)
        start = (place * (side - length + 1)).floor()  # the last place included
        return [
            torch.where(some_fits, start, float((side - fallback) // 2)),
            torch.where(some_fits, length, float(fallback)),
        ]

    # If none fits, the largest crop of an allowed ratio.
    rows, columns = round(min(height, width / low)), round(min(width, height * high))
    top, crop_height = along(heights, u[..., -2], height, rows)
    left, crop_width = along(widths, u[..., -1], width, columns)
    return top, left, crop_height, crop_width
