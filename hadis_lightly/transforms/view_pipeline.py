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
from hadis_lightly.transforms.view_parameters import ViewParameters
from hadis_lightly.transforms.view_settings import ViewSettings

# Bytes that are worked on at one time: so many that the time of a call does not matter
# on a CPU, and that a GPU is filled many times over without missing them.
_WORKSPACE = {"cpu": 96 << 20}
_WORKSPACE_ELSEWHERE = 512 << 20


class ViewPipeline:
    """Makes views of images from given draws; steps that no view has are left out.

    Args:
        views: The laws of the views, which may differ in all but their size and
            normalisation.

    Raises:
        ValueError: If they differ in those.
    """

    def __init__(self, views: tuple[ViewSettings, ...]) -> None:
        for name in ("size", "mean", "std"):
            values = {getattr(view, name) for view in views}
            if len(values) > 1:
                raise ValueError(f"all views must have one {name}, got {values}")
        self.size, self.mean, self.std = views[0].size, views[0].mean, views[0].std
        self._has_affine = any(view.affine for view in views)
        self._has_rotation = any(view.rotation_prob > 0 for view in views)
        self._has_gray = any(view.gray_prob > 0 for view in views)
        self._has_blur = any(view.blur_prob > 0 for view in views)
        self._has_solarize = any(view.solarize_prob > 0 for view in views)
        self._max_sigma = max(view.blur_sigmas[1] for view in views)
        # Which of brightness, contrast, saturation and hue some view jitters.
        self._jitter = tuple(
            any(view.jitter_prob > 0 and view.jitter[op] for view in views)
            for op in range(4)
        )

    def order(self, of: ViewParameters) -> Tensor:
        """The order in which to make the views, int64 ``(m,)``.

        On a CPU those alike in their jitter come together, which spares half its work.
        """
        if runs_on_host(of.order) and self._jitter[HUE]:
            return num_before_hue(of.factors, of.order, self._jitter).argsort()
        return torch.arange(len(of.order), device=of.order.device)

    def make(self, images: Tensor, of: ViewParameters) -> Tensor:
        """Makes one view of each image.

        Args:
            images: uint8 ``(m, c, h, w)``.
            of: Their draws, each field ``(m,)`` or ``(m, 4)``.

        Returns:
            Normalised float32 planes, ``(c, m, size, size)``.
        """
        flips = (of.horizontal_flip, of.vertical_flip)
        if self._has_affine:  # which comes before the flips
            flips = (torch.zeros_like(flips[0]), torch.zeros_like(flips[1]))
        x = crop_and_resize(
            images.transpose(0, 1).float(),
            top=of.top,
            left=of.left,
            height=of.height,
            width=of.width,
            horizontal_flip=flips[0],
            vertical_flip=flips[1],
            size=self.size,
        )
        if self._has_affine:
            x = affine_map(x, of.angle, of.translate_x, of.translate_y, of.shear)
            x = flip(x, of.horizontal_flip, of.vertical_flip)
        if self._has_rotation:
            x = rotate(x, of.rotation)
        if any(self._jitter):
            x = jitter(x, of.factors, of.order, self._jitter)
        if self._has_gray:
            x = grayscale(x, of.gray)
        if self._has_blur:
            x = blur(x, of.sigma, self._max_sigma)
        if self._has_solarize:
            x = solarize(x, of.solarize_from)
        return normalize_channels(x, self.mean, self.std)

    def views_at_a_time(self, images: Tensor) -> int:
        """So many that the work on them stays within a bounded space."""
        c, h, w = images.shape[1:]
        size = self.size
        floats = c * h * w + c * h * size + 8 * c * size**2 + 6 * size * (h + w)
        budget = _WORKSPACE.get(images.device.type, _WORKSPACE_ELSEWHERE)
        return max(1, budget // (4 * floats))
