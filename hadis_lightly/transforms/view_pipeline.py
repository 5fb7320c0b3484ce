"""The steps from images and draws to views, in their order."""

from __future__ import annotations

import torch
from torch import Tensor

from hadis_lightly.transforms.batched_color import (
    HUE,
    blur,
    grayscale,
    jitter,
    normalize_channels,
    num_before_hue,
    runs_on_host,
    solarize,
)
from hadis_lightly.transforms.batched_geometry import (
    affine_map,
    crop_and_resize,
    flip,
    rotate,
)
from hadis_lightly.transforms.view_distribution import ViewDistribution
from hadis_lightly.transforms.view_parameters import ViewParameters

# Bytes worked on at a time: enough for the time of a call not to matter on a CPU, and
# to fill a GPU many times over.
_WORKSPACE = {"cpu": 96 << 20}
_WORKSPACE_ELSEWHERE = 512 << 20

Views = tuple[ViewDistribution, ...]


def processing_order(views: Views, drawn: ViewParameters) -> Tensor:
    """The order in which to make the views, int64 ``(m,)``.

    On a CPU views with alike jitter come together, which halves its work.
    """
    active = _jitters(views)
    if runs_on_host(drawn.order) and active[HUE]:
        return num_before_hue(drawn.factors, drawn.order, active).argsort()
    return torch.arange(len(drawn.order), device=drawn.order.device)


def views_at_a_time(images: Tensor, size: int) -> int:
    """As many views as keep the memory in use bounded."""
    c, h, w = images.shape[1:]
    floats = c * h * w + c * h * size + 8 * c * size**2 + 6 * size * (h + w)
    budget = _WORKSPACE.get(images.device.type, _WORKSPACE_ELSEWHERE)
    return max(1, budget // (4 * floats))


def make_planes(views: Views, images: Tensor, drawn: ViewParameters) -> Tensor:
    """Makes one view of each image; steps that no view has are left out.

    Args:
        views: Distributions of the views.
        images: uint8 ``(m, c, h, w)``.
        drawn: Their draws, each field ``(m,)`` or ``(m, 4)``.

    Returns:
        Normalised float32 planes, ``(c, m, size, size)``.
    """
    has_affine = any(
        any(view.affine_degrees + view.affine_translate + view.affine_shear)
        for view in views
    )
    flips = (drawn.horizontal_flip, drawn.vertical_flip)
    # The affine map comes before the flips; without it they cost nothing in the crop.
    across, along = (torch.zeros_like(x) if has_affine else x for x in flips)
    x = crop_and_resize(
        images.transpose(0, 1).float(),
        vertical=(drawn.top, drawn.height, along),
        horizontal=(drawn.left, drawn.width, across),
        size=views[0].size,
    )
    if has_affine:
        shift = (drawn.translate_x, drawn.translate_y)
        x = flip(affine_map(x, drawn.angle, *shift, drawn.shear), *flips)
    if any(view.rotation_prob > 0 for view in views):
        x = rotate(x, drawn.rotation)
    active = _jitters(views)
    if any(active):
        x = jitter(x, drawn.factors, drawn.order, active)
    if any(view.gray_prob > 0 for view in views):
        x = grayscale(x, drawn.gray)
    if any(view.blur_prob > 0 for view in views):
        x = blur(x, drawn.sigma, max(view.blur_sigmas[1] for view in views))
    if any(view.solarize_prob > 0 for view in views):
        x = solarize(x, drawn.solarize_from)
    return normalize_channels(x, views[0].mean, views[0].std)


def _jitters(views: Views) -> tuple[bool, ...]:
    """Which of brightness, contrast, saturation and hue some view jitters."""
    return tuple(
        any(view.jitter_prob > 0 and view.jitter[op] is not None for view in views)
        for op in range(4)
    )
