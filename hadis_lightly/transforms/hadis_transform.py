"""The random views of an image that HaDis trains on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.rotation import random_rotation_transform
from lightly.transforms.solarize import RandomSolarization
from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as T
from PIL import Image
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.settings.views import (
    IMAGENET_NORMALIZE,
    Normalize,
    ViewSettings,
)
from hadis_lightly.transforms.input_checks import check_image
from hadis_lightly.transforms.plain_transforms import ToNormalizedTensor
from hadis_lightly.transforms.view_signature import takes_view_settings


@takes_view_settings
class HaDisTransform(MultiViewTransform):
    """Views of an image for HaDis [0], two drawn independently from one distribution.

    With ``n_views`` there are more of these, and ``n_local_views`` adds smaller ones of
    small parts of the image, after them, as in lightly's ``DINOTransform``.

    Input to this transform:
        PIL image of mode ``RGB`` or ``L``.

    Output of this transform:
        List of two float32 tensors ``(c, input_size, input_size)``; or of ``n_views``
        of them and ``n_local_views`` of ``(c, local_crop_size, local_crop_size)``.

    Applies, in this order, with the paper's settings for 32 x 32 images as defaults:
    resized crop, affine map (ours; off), horizontal flip, vertical flip (off), rotation
    (off), colour jitter, greyscale, Gaussian blur (off), solarization (off),
    normalisation. A step with probability or strength 0 is left out.

    Args:
        {view_settings}
        normalize: ``{"mean": [...], "std": [...]}`` with one entry per channel (one for
            grey images), for pixels in 0..1; ``None`` leaves the pixels in 0..1.

    ``rr_degrees`` may also be one number, for ``+-rr_degrees``.

    Raises:
        TypeError: If a setting is unknown or of the wrong type; names it.
        ValueError: If a setting is out of range; names it and its value.

    Example:
        >>> transform = HaDisTransform(input_size=32, cj_prob=0.5)
        >>> x0, x1 = transform(Image.new("RGB", (40, 30)))
        >>> x0.shape, x1.shape
        (torch.Size([3, 32, 32]), torch.Size([3, 32, 32]))

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self,
        input_size: int = 32,
        *,
        normalize: Normalize | None = IMAGENET_NORMALIZE,
        **settings: Any,
    ) -> None:
        checked = ViewSettings.from_arguments(input_size, normalize, **settings)
        super().__init__(transforms=_views(checked))

    @classmethod
    def from_settings(cls, settings: ViewSettings) -> HaDisTransform:
        """The transform of ready settings, such as the section ``views`` of a run."""
        settings.check()
        made = cls.__new__(cls)
        MultiViewTransform.__init__(made, transforms=_views(settings))
        return made

    def __call__(self, image: Any) -> list[Tensor]:
        """Returns the random views of ``image``."""
        check_image(image)
        return [transform(image) for transform in self.transforms]


def _views(s: ViewSettings) -> list[Any]:
    """The transform of each view, the local ones last."""
    return _repeated([_view(s, crop) for crop in _crops(s)], s)


def _repeated(kinds: list[Any], s: ViewSettings) -> list[Any]:
    """That of a global view, and of a local one, as often as there are such views."""
    return kinds[:1] * s.n_views + kinds[1:] * s.n_local_views


def _crops(s: ViewSettings) -> list[Any]:
    """The crop of the global views, and that of the local ones if there are any."""
    crops = [T.RandomResizedCrop(size=s.size_px, scale=(s.min_scale, 1.0))]
    if s.n_local_views:
        low, high = s.local_crop_scale
        crops += [T.RandomResizedCrop(size=s.local_size_px, scale=(low, high))]
    return crops


def _view(s: ViewSettings, crop: Any) -> Any:
    """The steps of one view, those that would change nothing left out."""
    affine = T.RandomAffine(
        degrees=s.affine_degrees,
        translate=(s.affine_translate,) * 2 if s.affine_translate else None,
        shear=s.affine_shear or None,
        interpolation=T.InterpolationMode.BILINEAR,
    )
    parts = (s.cj_bright, s.cj_contrast, s.cj_sat, s.cj_hue)
    strengths = [s.cj_strength * part for part in parts]
    jitter = T.ColorJitter(*strengths)
    if s.cj_prob < 1:
        jitter = T.RandomApply([jitter], p=s.cj_prob)
    degrees: Any = None if s.rr_degrees is None else tuple(s.rr_degrees)
    blur = GaussianBlur(prob=s.gaussian_blur, sigmas=(s.sigmas[0], s.sigmas[1]))
    steps = [
        (True, crop),
        # After the crop, so that shift and shear act on the larger of the two images.
        (s.affine_degrees or s.affine_translate or s.affine_shear, affine),
        (s.hf_prob, T.RandomHorizontalFlip(p=s.hf_prob)),
        (s.vf_prob, T.RandomVerticalFlip(p=s.vf_prob)),
        (s.rr_prob, random_rotation_transform(s.rr_prob, degrees)),
        (s.cj_prob and any(strengths), jitter),
        (s.random_gray_scale, T.RandomGrayscale(p=s.random_gray_scale)),
        (s.gaussian_blur, blur),
        (s.solarization_prob, RandomSolarization(prob=s.solarization_prob)),
        (True, ToNormalizedTensor(s.normalize)),
    ]
    return T.Compose([step for is_used, step in steps if is_used])


class HaDisCropTransform:
    """The random resized crops of :class:`HaDisTransform`, and nothing after them.

    For images of different sizes, which do not fit into one batch: a worker process
    crops them, and :class:`BatchedViews` does the rest on the device.

    Args:
        input_size: Height and width of a crop in pixels.
        min_scale: Smallest area of the crop, as a fraction of the image.
        num_views: Number of crops.

    Shape:
        PIL image of mode ``RGB`` or ``L`` to uint8
        ``(num_views, c, input_size, input_size)``.

    Raises:
        ValueError: If a setting is out of range; names it and its value.

    Example:
        >>> HaDisCropTransform(input_size=32)(Image.new("RGB", (40, 30))).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, input_size: int = 32, min_scale: float = 0.08, num_views: int = 2
    ) -> None:
        check_integer("num_views", num_views, least=1)
        settings = ViewSettings(input_size=input_size, min_scale=min_scale)
        settings.check()
        self._crops = _crops(settings) * num_views

    @classmethod
    def from_settings(cls, settings: ViewSettings) -> HaDisCropTransform:
        """The crops of all views of ready settings, those of local views last.

        Also these are scaled to ``input_size``; :class:`BatchedViews` reduces them.
        """
        settings.check()
        made = cls.__new__(cls)
        views = replace(settings, local_crop_size=settings.size_px)
        made._crops = _repeated(_crops(views), views)
        return made

    @property
    def num_views(self) -> int:
        """Number of crops."""
        return len(self._crops)

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns random crops of the image, each with draws of its own."""
        check_image(image)
        crops = [np.atleast_3d(crop(image)) for crop in self._crops]
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
