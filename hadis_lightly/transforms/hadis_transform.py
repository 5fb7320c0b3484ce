"""The two random views of an image that HaDis trains on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.rotation import random_rotation_transform
from lightly.transforms.solarize import RandomSolarization
from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as T
from lightly.transforms.utils import IMAGENET_NORMALIZE
from PIL import Image
from torch import Tensor

from hadis_lightly.transforms.normalize import ToNormalizedTensor
from hadis_lightly.transforms.validation import (
    check_between,
    check_image,
    check_min_scale,
    check_range,
    check_size,
)


class HaDisTransform(MultiViewTransform):
    """Two views of an image for HaDis [0], drawn independently from the same law.

    Input to this transform:
        PIL image of mode ``RGB`` or ``L``.

    Output of this transform:
        List of two float32 tensors ``(c, input_size, input_size)``.

    Applies, in this order, with the paper's settings for 32 x 32 images as defaults:
        - Random resized crop
        - Random affine map (ours; off)
        - Random horizontal flip; vertical flip (off); rotation (off)
        - Color jitter
        - Random gray scale
        - Gaussian blur (off); solarization (off)
        - Normalization

    What has probability or strength 0 is left out, not run in vain.

    Args:
        input_size: Height and width of a view in pixels.
        cj_prob: Probability of color jitter.
        cj_bright: Strength of the brightness jitter.
        cj_contrast: Strength of the contrast jitter.
        cj_sat: Strength of the saturation jitter.
        cj_hue: Strength of the hue jitter; ``cj_strength * cj_hue`` is at most 0.5.
        min_scale: Smallest area of the crop, as a fraction of the image.
        random_gray_scale: Probability of conversion to grey (the channels stay three).
        hf_prob: Probability of a horizontal flip.
        normalize: ``{"mean": [...], "std": [...]}`` with one entry per channel (one for
            grey images), for pixels in 0..1; ``None`` leaves the pixels in 0..1.
        cj_strength: Factor on the four ``cj_`` strengths.
        vf_prob: Probability of a vertical flip.
        rr_prob: Probability of a rotation.
        rr_degrees: Rotation by a random angle within ``(min, max)`` or ``+-degrees``;
            ``None`` rotates by 90 degrees, always the same way.
        gaussian_blur: Probability of Gaussian blur.
        sigmas: Smallest and largest standard deviation of the blur in pixels.
        solarization_prob: Probability of solarization.
        affine_degrees: Largest angle of a rotation that every view gets, in degrees.
        affine_translate: Largest shift of every view, as a fraction of ``input_size``.
        affine_shear: Largest horizontal shear of every view, in degrees.

    Raises:
        ValueError: if a setting lies outside its range, naming it and its value.

    Example:
        >>> transform = HaDisTransform(input_size=32)
        >>> x0, x1 = transform(Image.new("RGB", (40, 30)))
        >>> x0.shape, x1.shape
        (torch.Size([3, 32, 32]), torch.Size([3, 32, 32]))

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self,
        input_size: int = 32,
        cj_prob: float = 0.8,
        cj_bright: float = 0.4,
        cj_contrast: float = 0.4,
        cj_sat: float = 0.4,
        cj_hue: float = 0.1,
        min_scale: float = 0.08,
        random_gray_scale: float = 0.2,
        hf_prob: float = 0.5,
        normalize: Mapping[str, Sequence[float]] | None = IMAGENET_NORMALIZE,
        cj_strength: float = 1.0,
        vf_prob: float = 0.0,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        gaussian_blur: float = 0.0,
        sigmas: tuple[float, float] = (0.1, 2.0),
        solarization_prob: float = 0.0,
        affine_degrees: float = 0.0,
        affine_translate: float = 0.0,
        affine_shear: float = 0.0,
    ) -> None:
        view_transform = HaDisViewTransform(
            input_size=input_size,
            cj_prob=cj_prob,
            cj_bright=cj_bright,
            cj_contrast=cj_contrast,
            cj_sat=cj_sat,
            cj_hue=cj_hue,
            min_scale=min_scale,
            random_gray_scale=random_gray_scale,
            hf_prob=hf_prob,
            normalize=normalize,
            cj_strength=cj_strength,
            vf_prob=vf_prob,
            rr_prob=rr_prob,
            rr_degrees=rr_degrees,
            gaussian_blur=gaussian_blur,
            sigmas=sigmas,
            solarization_prob=solarization_prob,
            affine_degrees=affine_degrees,
            affine_translate=affine_translate,
            affine_shear=affine_shear,
        )
        super().__init__(transforms=[view_transform, view_transform])


class HaDisViewTransform:
    """One view of an image for HaDis: :class:`HaDisTransform` applies it twice.

    Args: those of :class:`HaDisTransform`, which describes them.

    Shape:
        PIL image of mode ``RGB`` or ``L`` to float32 ``(c, input_size, input_size)``.

    Raises:
        ValueError: if a setting lies outside its range, naming it and its value.

    Example:
        >>> grey = {"mean": [0.5], "std": [0.5]}
        >>> HaDisViewTransform(16, normalize=grey)(Image.new("L", (8, 8))).shape
        torch.Size([1, 16, 16])
    """

    def __init__(
        self,
        input_size: int = 32,
        cj_prob: float = 0.8,
        cj_bright: float = 0.4,
        cj_contrast: float = 0.4,
        cj_sat: float = 0.4,
        cj_hue: float = 0.1,
        min_scale: float = 0.08,
        random_gray_scale: float = 0.2,
        hf_prob: float = 0.5,
        normalize: Mapping[str, Sequence[float]] | None = IMAGENET_NORMALIZE,
        cj_strength: float = 1.0,
        vf_prob: float = 0.0,
        rr_prob: float = 0.0,
        rr_degrees: float | tuple[float, float] | None = None,
        gaussian_blur: float = 0.0,
        sigmas: tuple[float, float] = (0.1, 2.0),
        solarization_prob: float = 0.0,
        affine_degrees: float = 0.0,
        affine_translate: float = 0.0,
        affine_shear: float = 0.0,
    ) -> None:
        check_size("input_size", input_size)
        check_min_scale(min_scale)
        check_between(0, 1, hf_prob=hf_prob, vf_prob=vf_prob, rr_prob=rr_prob)
        check_between(0, 1, random_gray_scale=random_gray_scale)
        check_between(0, 1, gaussian_blur=gaussian_blur)
        check_between(0, 1, solarization_prob=solarization_prob)
        check_range("sigmas", sigmas, lower=0.0)
        if isinstance(rr_degrees, Sequence):
            check_range("rr_degrees", rr_degrees)
        elif rr_degrees is not None:
            check_between(0, math.inf, rr_degrees=rr_degrees)

        steps = [
            T.RandomResizedCrop(size=input_size, scale=(min_scale, 1.0)),
            *_affine(affine_degrees, affine_translate, affine_shear),
            *_when(hf_prob, T.RandomHorizontalFlip(p=hf_prob)),
            *_when(vf_prob, T.RandomVerticalFlip(p=vf_prob)),
            *_when(rr_prob, random_rotation_transform(rr_prob, rr_degrees)),
            *_color_jitter(
                cj_prob, cj_strength, cj_bright, cj_contrast, cj_sat, cj_hue
            ),
            *_when(random_gray_scale, T.RandomGrayscale(p=random_gray_scale)),
            *_when(gaussian_blur, GaussianBlur(prob=gaussian_blur, sigmas=sigmas)),
            *_when(solarization_prob, RandomSolarization(prob=solarization_prob)),
            ToNormalizedTensor(normalize),
        ]
        self.transform = T.Compose(steps)

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns one random view of ``image``."""
        check_image(image)
        view: Tensor = self.transform(image)
        return view


def _when(prob: float, step: Any) -> list[Any]:
    """The step, or nothing when it would never be taken."""
    return [step] if prob > 0 else []


def _affine(degrees: float, translate: float, shear: float) -> list[Any]:
    """RandomAffine, or nothing when it would leave every image as it is."""
    check_between(0, 180, affine_degrees=degrees)
    check_between(0, 1, affine_translate=translate)
    check_between(0, 89, affine_shear=shear)
    if degrees == translate == shear == 0:
        return []
    # After the crop, so that shift and shear act on the larger of the two images.
    return [
        T.RandomAffine(
            degrees=degrees,
            translate=(translate, translate) if translate > 0 else None,
            shear=shear if shear > 0 else None,
            interpolation=T.InterpolationMode.BILINEAR,
        )
    ]


def _color_jitter(
    prob: float,
    strength: float,
    bright: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> list[Any]:
    """ColorJitter, or nothing when it would leave every image as it is."""
    check_between(0, 1, cj_prob=prob)
    check_between(
        0,
        math.inf,
        cj_strength=strength,
        cj_bright=bright,
        cj_contrast=contrast,
        cj_sat=saturation,
    )
    check_between(0, 0.5, cj_hue=hue)
    if strength * hue > 0.5:
        raise ValueError(
            f"cj_strength * cj_hue must be <= 0.5, got {strength!r} * {hue!r}"
        )
    if prob == 0 or strength == 0 or bright == contrast == saturation == hue == 0:
        return []
    jitter = T.ColorJitter(
        brightness=strength * bright,
        contrast=strength * contrast,
        saturation=strength * saturation,
        hue=strength * hue,
    )
    return [jitter if prob == 1 else T.RandomApply([jitter], p=prob)]
