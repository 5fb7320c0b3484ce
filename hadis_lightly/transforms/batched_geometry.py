"""Crop, flip, resize, affine map and rotation of a batch, each image its own way.

Images are planes, ``(c, m, h, w)``: with the channel first, every operation runs over
contiguous memory. Pixel ``i`` spans ``i`` to ``i + 1``, its centre is at ``i + 0.5``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Extent = tuple[Tensor, Tensor, Tensor]


def crop_and_resize(
    planes: Tensor, vertical: Extent, horizontal: Extent, size: int
) -> Tensor:
    """Crops, resizes bilinearly with antialiasing, flips, and scales to 0..1.

    All of it is linear and separates into rows and columns: ``rows @ plane @
    columns^T``.

    Args:
        planes: ``(c, m, h, w)``, floating point, in 0..255.
        vertical: First row of each crop, its number of rows, and whether to swap top
            and bottom, each ``(m,)``.
        horizontal: The same for columns, left and right.
        size: Side of the result in pixels.

    Returns:
        The planes, ``(c, m, size, size)``.
    """
    rows = _resampling(*vertical, planes.shape[2], size)
    columns = _resampling(*horizontal, planes.shape[3], size)
    # Rounding may have made white a little more than 1.
    return sandwich(rows.div_(255), planes, columns).clamp_(max=1)


def sandwich(
    rows: Tensor, planes: Tensor, columns: Tensor, out: Tensor | None = None
) -> Tensor:
    """``rows @ plane @ columns^T``, each image with its own matrices.

    Shapes ``(m, a, h)``, ``(c, m, h, w)``, ``(m, b, w)`` to ``(c, m, a, b)``; ``out``
    may be the planes themselves.
    """
    if out is None:
        out = planes.new_empty((*planes.shape[:2], rows.shape[1], columns.shape[1]))
    # One batch of products per channel: none of the matrices is copied.
    for plane, made in zip(planes, out, strict=True):
        torch.bmm(rows, torch.bmm(plane, columns.mT), out=made)
    return out


def _resampling(
    start: Tensor, length: Tensor, flip: Tensor, size_in: int, size_out: int
) -> Tensor:
    """Weight of each input pixel in each output pixel, ``(m, out, in)``."""
    start, length, flip = (x[..., None, None] for x in (start, length, flip))
    dtype, device = start.dtype, start.device
    pixels_in = torch.arange(size_in, dtype=dtype, device=device)
    pixels_out = torch.arange(size_out, dtype=dtype, device=device).unsqueeze(1)
    direction = 1 - 2 * flip.to(dtype)
    scale = length / size_out
    from_centre = (pixels_out + 0.5 - size_out / 2) * direction * scale
    centres = start + length / 2 + from_centre  # (m, out, 1)
    # A triangle as wide as two pixels, input or output, whichever are larger.
    slope = 1 / scale.clamp(min=1)
    weight = ((pixels_in + 0.5) * slope - centres * slope).abs_().neg_().add_(1)
    is_in_crop = (start <= pixels_in) & (pixels_in < start + length)
    weight = weight.clamp_(min=0).mul_(is_in_crop.to(dtype))
    return weight.div_(weight.sum(dim=-1, keepdim=True))


def affine_map(
    x: Tensor,
    angle: Tensor,
    right: Tensor,
    down: Tensor,
    shear: Tensor,
    mode: str = "bilinear",
) -> Tensor:
    """Shears, rotates, then shifts about the centre; black outside.

    As in Pillow, the border of the image is not mixed with the black outside.

    Args:
        x: Square planes ``(c, m, size, size)``.
        angle: Rotation in degrees, clockwise, ``(m,)``.
        right: Shift to the right in pixels, ``(m,)``.
        down: Shift downwards in pixels, ``(m,)``.
        shear: Horizontal shear in degrees, ``(m,)``.
        mode: Interpolation, ``"bilinear"`` or ``"nearest"``.
    """
    cos, sin = angle.deg2rad().cos(), angle.deg2rad().sin()
    tan = shear.deg2rad().tan()
    # The inverse of rotation @ shear: from the result back to the image.
    inverse = torch.stack([cos - sin * tan, sin + cos * tan, -sin, cos], dim=-1)
    size = x.shape[-1]
    centres = torch.arange(size, device=x.device, dtype=x.dtype) + 0.5 - size / 2
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    target = torch.stack([columns, rows], dim=-1).flatten(0, 1)  # (h * w, 2)
    shifted = target - torch.stack([right, down], dim=-1).unsqueeze(1)
    source = shifted @ inverse.reshape(-1, 2, 2).mT  # (m, h * w, 2)
    source = source.reshape(-1, size, size, 2) * (2 / size)  # -1..1 from edge to edge
    sampled = F.grid_sample(
        x.transpose(0, 1), source, mode, padding_mode="border", align_corners=False
    )
    is_inside = ((source >= -1) & (source < 1)).all(dim=-1)
    inside: Tensor = sampled.transpose(0, 1) * is_inside
    return inside


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Rotates about the centre, to the nearest pixel, black outside.

    Args:
        x: Square planes ``(c, m, size, size)``.
        angle: Rotation in degrees, counter-clockwise, ``(m,)``.
    """
    zero = torch.zeros_like(angle)
    return affine_map(x, -angle, zero, zero, zero, mode="nearest")


def flip(x: Tensor, horizontal: Tensor, vertical: Tensor) -> Tensor:
    """Mirrors some of the planes ``(c, m, h, w)``; either mask is ``(m,)``."""
    x = torch.where(horizontal[:, None, None], x.flip(3), x)
    return torch.where(vertical[:, None, None], x.flip(2), x)
