"""The settings of a view: the one place of their names, defaults, ranges and help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hadis_lightly.fields import check_fields, setting

#: Mean and standard deviation of the channels, in lightly's form.
Normalize = Mapping[str, Sequence[float]]

# NOTE: the authors' numbers. The CIFAR-10 deviations are smaller than those over all
# pixels (0.247, 0.243, 0.262); they stay, because the paper's runs used them.
CIFAR10_NORMALIZE = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}
CIFAR100_NORMALIZE = {"mean": [0.5071, 0.4867, 0.4408], "std": [0.2675, 0.2565, 0.2761]}
# lightly's, which cannot be had without importing PyTorch.
IMAGENET_NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# Mean and standard deviation of all pixels of scikit-learn's digits, scaled to 0..1.
DIGITS_NORMALIZE = {"mean": [0.3053], "std": [0.3760]}
#: Settings of a run that are no arguments of the random views.
NO_ARGUMENTS = ("mean", "std", "plain_crop", "plain_interpolation", "initial_size")


@dataclass
class ViewSettings:
    """Augmentation of the images; the names are lightly's.

    Defaults are the paper's for CIFAR-10. What is None is taken from the description of
    the weights (:func:`hadis_lightly.methods.backbone.resolve_views`). Empty ``mean``
    and ``std`` leave the pixels in [0, 1].

    Example:
        >>> ViewSettings(input_size=64, hf_prob=2.0).check()
        Traceback (most recent call last):
        ValueError: hf_prob must be <= 1, got 2.0.
    """

    input_size: int | None = setting(
        None,
        "Side of a view in pixels. Cost grows with its square: choose the smallest at "
        "which you can tell the classes apart. By default that of published weights, "
        "else 32.",
        low=1,
        high=4096,
    )
    cj_prob: float = setting(0.8, "Probability of colour jitter.", low=0, high=1)
    cj_bright: float = setting(0.4, "Strength of the brightness jitter.", low=0)
    cj_contrast: float = setting(0.4, "Strength of the contrast jitter.", low=0)
    cj_sat: float = setting(0.4, "Strength of the saturation jitter.", low=0)
    cj_hue: float = setting(0.1, "Strength of the hue jitter.", low=0, high=0.5)
    min_scale: float = setting(
        0.08,
        "Smallest area of the crop, as a fraction of the image. Raise it to 0.2-0.7 "
        "if crops miss the object.",
        above=0,
        high=1,
    )
    random_gray_scale: float = setting(
        0.2, "Probability of conversion to grey. 0 for grey images.", low=0, high=1
    )
    hf_prob: float = setting(
        0.5, "Probability of a horizontal flip. 0 for text and digits.", low=0, high=1
    )
    mean: list[float] | None = setting(
        None,
        "Mean of the pixels per channel, for pixels in [0, 1]: one value for grey "
        "images. By default that of published weights, else of CIFAR-10.",
    )
    std: list[float] | None = setting(
        None,
        "Standard deviation of the pixels per channel, as for the mean.",
        low=1e-6,
    )
    cj_strength: float = setting(
        1.0,
        "Factor on the four strengths of the jitter. Lower it if colour or brightness "
        "distinguishes the classes.",
        low=0,
    )
    vf_prob: float = setting(
        0.0,
        "Probability of a vertical flip. 0.5 for images without an up, such as "
        "microscopy.",
        low=0,
        high=1,
    )
    rr_prob: float = setting(0.0, "Probability of a rotation.", low=0, high=1)
    rr_degrees: list[float] | None = setting(
        None,
        "Smallest and largest angle of that rotation in degrees, counter-clockwise; by "
        "default always 90.",
    )
    gaussian_blur: float = setting(0.0, "Probability of Gaussian blur.", low=0, high=1)
    sigmas: list[float] = setting(
        [0.1, 2.0], "Smallest and largest standard deviation of the blur in pixels."
    )
    solarization_prob: float = setting(
        0.0, "Probability of solarization.", low=0, high=1
    )
    affine_degrees: float = setting(
        0.0, "Largest rotation of a view in degrees. Not in the paper.", low=0, high=180
    )
    affine_translate: float = setting(
        0.0,
        "Largest shift of a view, as a fraction of its side. Not in the paper.",
        low=0,
        high=1,
    )
    affine_shear: float = setting(
        0.0,
        "Largest horizontal shear of a view in degrees. Not in the paper.",
        low=0,
        high=89,
    )
    plain_crop: float | None = setting(
        None,
        "Side of the central square that is embedded and clustered, as a fraction of "
        "the shorter side. By default that of published weights, else 1.",
        above=0,
        high=1,
    )
    plain_interpolation: str | None = setting(
        None,
        "How images are scaled to be embedded and clustered. By default as published "
        "weights want it, else bilinear.",
        choices=("bilinear", "bicubic"),
    )
    n_views: int = setting(
        2,
        "Views of each image that student and teacher see. More cost time. Paper: 2.",
        low=2,
        high=1024,
    )
    n_local_views: int = setting(
        0,
        "Smaller views of each image that the student alone sees, as in DINO. Not in "
        "the paper.",
        low=0,
        high=1024,
    )
    local_crop_size: int | None = setting(
        None,
        "Side of these in pixels; by default half of the other views'.",
        low=1,
        high=4096,
    )
    local_crop_scale: list[float] = setting(
        [0.05, 0.4],
        "Smallest and largest area of their crop, as fractions of the image.",
    )

    initial_size: int | None = setting(
        None,
        "Side of the views in the first half of training, local ones in proportion: "
        "smaller ones cost less. By default input_size throughout.",
        low=1,
        high=4096,
    )

    @classmethod
    def from_arguments(
        cls, input_size: int = 32, normalize: Normalize | None = None, **settings: Any
    ) -> ViewSettings:
        """Settings from lightly's arguments, checked.

        ``normalize`` stands for ``mean`` and ``std``, and ``rr_degrees`` may be one
        number, for ``+-rr_degrees``.
        """
        for name in sorted({*NO_ARGUMENTS} & set(settings)):
            hint = ": use normalize" * (name in ("mean", "std"))
            raise TypeError(f"unexpected argument {name!r}{hint}.")
        if not isinstance(input_size, int):
            raise TypeError(f"input_size must be an integer, got {input_size!r}.")
        if normalize is None:
            normalize = {"mean": [], "std": []}
        if not isinstance(normalize, Mapping) or set(normalize) != {"mean", "std"}:
            raise ValueError(
                f"normalize must be a dict with 'mean' and 'std', got {normalize!r}."
            )
        # Also from tuples, arrays and tensors.
        mean, std = (np.asarray(normalize[name]).tolist() for name in ("mean", "std"))
        degrees = settings.get("rr_degrees")
        if isinstance(degrees, (int, float)):
            settings["rr_degrees"] = [-degrees, degrees]
        made = cls(input_size, mean=mean, std=std, **settings)
        made.check()
        return made

    @property
    def size_px(self) -> int:
        """``input_size``, or its default."""
        return 32 if self.input_size is None else self.input_size

    @property
    def local_size_px(self) -> int:
        """``local_crop_size``, or its default."""
        half = max(1, self.size_px // 2)
        return half if self.local_crop_size is None else self.local_crop_size

    @property
    def sizes_px(self) -> dict[str, int]:
        """Sides of all views of a training, by the name of their setting."""
        usual = self.size_px
        sizes = {"input_size": usual}
        if self.n_local_views:
            sizes["local_crop_size"] = self.local_size_px
        if self.initial_size is not None:
            share = self.initial_size / usual
            sizes["initial_size"] = self.initial_size
            if self.n_local_views:
                local = max(1, round(share * self.local_size_px))
                sizes["initial_size (of local views)"] = local
        return sizes

    @property
    def num_channels(self) -> int:
        """Channels of the images, by the values of ``mean``."""
        return 3 if self.mean is None else len(self.mean)

    @property
    def normalize(self) -> dict[str, list[float]] | None:
        """Mean and standard deviation as lightly writes them, None without."""
        given = {"mean": self.mean, "std": self.std}
        filled = {
            name: list(CIFAR10_NORMALIZE[name] if values is None else values)
            for name, values in given.items()
        }
        return filled if filled["mean"] else None

    def check(self, prefix: str = "") -> None:
        """Checks types, ranges and combinations.

        Args:
            prefix: Comes before the names in messages, such as ``views.``.

        Raises:
            TypeError: If a value is not of its type; names the setting and the value.
            ValueError: If a value is not allowed.
        """
        check_fields(self, prefix)
        if self.cj_strength * self.cj_hue > 0.5:
            raise ValueError(
                f"{prefix}cj_strength * cj_hue must be <= 0.5, got "
                f"{self.cj_strength} * {self.cj_hue}."
            )
        for name, size in self.sizes_px.items():
            if size > self.size_px:
                raise ValueError(
                    f"{prefix}{name} must be <= {prefix}input_size={self.size_px}, got "
                    f"{size}."
                )
        for name, low in (("sigmas", 0.0), ("rr_degrees", -360.0)):
            pair = getattr(self, name)
            if pair is not None and not (len(pair) == 2 and low <= pair[0] <= pair[1]):
                raise ValueError(
                    f"{prefix}{name} must be a pair [low, high] with {low:g} <= low <= "
                    f"high, got {pair!r}."
                )
        scale = self.local_crop_scale
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(
                f"{prefix}local_crop_scale must be a pair [low, high] with 0 < low <= "
                f"high <= 1, got {scale!r}."
            )
        lengths = {3 if x is None else len(x) for x in (self.mean, self.std)}
        if not lengths <= {0, 1, 3} or len(lengths) > 1:
            raise ValueError(
                f"{prefix}mean and {prefix}std must have one value per channel, 1 or "
                f"3, got {self.mean!r} and {self.std!r}."
            )


def grey_normalize(values: Sequence[float]) -> list[float]:
    """Mean or standard deviation over colours, as the one value for grey images.

    Example:
        >>> grey_normalize([0.485, 0.456, 0.406])
        [0.449]
    """
    return [round(sum(values) / len(values), 4)]
