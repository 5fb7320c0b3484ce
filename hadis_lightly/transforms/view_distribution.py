"""The distribution of one random view, read from the transform of single images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.rotation import RandomRotate, RandomRotateDegrees
from lightly.transforms.solarize import RandomSolarization
from torchvision import transforms as v1
from torchvision.transforms import v2

from hadis_lightly.transforms.to_normalized_tensor import ToNormalizedTensor

Range = tuple[float, float]


@dataclass(frozen=True)
class AffineRanges:
    """Ranges of a random affine map, in degrees and fractions of the side."""

    degrees: Range = (0.0, 0.0)
    translate: Range = (0.0, 0.0)
    shear: Range = (0.0, 0.0)


@dataclass(frozen=True)
class ViewDistribution:
    """What is drawn for a view, in the order in which it is applied.

    Ranges are those of uniform draws, ``None`` where a step is left out.
    """

    size: int
    """Side of the view in pixels."""
    crop_scale: Range = (0.08, 1.0)
    """Area of the crop, as a fraction of the image."""
    crop_ratio: Range = (3 / 4, 4 / 3)
    """Width over height of the crop; its logarithm is uniform."""
    affine: AffineRanges | None = None
    horizontal_flip_prob: float = 0.0
    vertical_flip_prob: float = 0.0
    rotation_prob: float = 0.0
    rotation_degrees: Range = (0.0, 0.0)
    """Angle of the rotation, counter-clockwise, to the nearest pixel."""
    jitter_prob: float = 0.0
    brightness: Range | None = None
    contrast: Range | None = None
    saturation: Range | None = None
    hue: Range | None = None
    gray_prob: float = 0.0
    blur_prob: float = 0.0
    blur_sigmas: Range = (0.1, 2.0)
    """Standard deviation of the blur in pixels."""
    solarize_prob: float = 0.0
    solarize_threshold: int = 128
    """Lowest value, of 0 to 255, that is inverted."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def jitter(self) -> tuple[Range | None, ...]:
        """Factors of brightness, contrast, saturation and hue, torchvision's order."""
        return (self.brightness, self.contrast, self.saturation, self.hue)


def read_distribution(transform: Any) -> ViewDistribution:
    """Reads the distribution of a view from a transform of lightly, torchvision or us.

    Args:
        transform: A ``Compose`` of torchvision, or an object that holds one as
            ``transform``, such as lightly's ``BYOLView1Transform``.

    Raises:
        ValueError: If batches cannot do one of its steps, or not in this order; names
            the step.
    """
    last = -1
    found: dict[str, Any] = {}
    for step in _steps(transform):
        place = _place(step)
        if place <= last:
            raise ValueError(
                f"{_name(step)} comes twice, or later than in BatchedViews."
            )
        last = place
        _, read = _READERS[place]
        found |= read(step)
    if "size" not in found:
        raise ValueError("transform has no RandomResizedCrop, which must come first.")
    return ViewDistribution(**found)


def _steps(transform: Any) -> Iterator[Any]:
    """The steps of nested transforms, without those that leave the pixels alone."""
    compose = (v1.Compose, v2.Compose)
    if not isinstance(transform, compose):
        # The views of lightly hold a Compose and nothing else.
        inner = getattr(transform, "transform", None)
        if isinstance(inner, compose) and set(vars(transform)) == {"transform"}:
            transform = inner
    if isinstance(transform, compose):
        for step in transform.transforms:
            yield from _steps(step)
    elif isinstance(transform, v2.ToDtype):
        if not transform.scale:
            raise ValueError("ToDtype must have scale=True, for pixels in 0..1.")
    elif not isinstance(transform, (v1.ToTensor, v2.ToTensor, v2.ToImage)):
        yield transform


def _place(step: Any) -> int:
    """The place of a step in the order of batches."""
    for place, (kinds, _) in enumerate(_READERS):
        if isinstance(step, kinds):
            return place
    raise ValueError(f"{_name(step)} is not a step that BatchedViews can do.")


def _name(step: Any) -> str:
    return str(getattr(step, "__qualname__", type(step).__name__))


def _crop(step: Any) -> dict[str, Any]:
    sides = step.size if isinstance(step.size, (tuple, list)) else [step.size]
    if len(set(sides)) > 1:
        raise ValueError(f"size must be one side of a square, got {tuple(sides)}.")
    _check_bilinear(step)
    if not step.antialias:
        raise ValueError("RandomResizedCrop must have antialias=True.")
    return {
        "size": int(sides[0]),
        "crop_scale": tuple(step.scale),
        "crop_ratio": tuple(step.ratio),
    }


def _affine(step: Any) -> dict[str, Any]:
    _check_bilinear(step)
    shear = tuple(step.shear or (0.0, 0.0))
    if step.scale is not None or step.center is not None or any(shear[2:]):
        raise ValueError(
            "RandomAffine may rotate, shift and shear along x only, about the centre."
        )
    if step.fill not in (0, None):
        raise ValueError(f"RandomAffine must fill with 0, got {step.fill!r}.")
    translate = tuple(step.translate or (0.0, 0.0))
    return {"affine": AffineRanges(tuple(step.degrees), translate, shear[:2])}


def _rotation(step: Any) -> dict[str, Any]:
    if isinstance(step, RandomRotate):
        angle = float(step.angle)
        return {"rotation_prob": step.prob, "rotation_degrees": (angle, angle)}
    apply: Any = step.transform
    rotation = apply.transforms[0]
    if _interpolation(rotation) not in ("nearest", 0) or rotation.expand:
        raise ValueError("RandomRotation must take the nearest pixel and not expand.")
    degrees = tuple(rotation.degrees)
    return {"rotation_prob": float(apply.p), "rotation_degrees": degrees}


def _jitter(step: Any) -> dict[str, Any]:
    prob, jitter = 1.0, step
    if isinstance(step, (v1.RandomApply, v2.RandomApply)):
        kinds = (v1.ColorJitter, v2.ColorJitter)
        if len(step.transforms) != 1 or not isinstance(step.transforms[0], kinds):
            inner = [_name(step) for step in step.transforms]
            raise ValueError(f"RandomApply must apply a ColorJitter, got {inner}.")
        prob, jitter = float(step.p), step.transforms[0]
    found: dict[str, Any] = {"jitter_prob": prob}
    for name in ("brightness", "contrast", "saturation", "hue"):
        limits = getattr(jitter, name)
        found[name] = None if limits is None else tuple(limits)
    return found


def _normalize(step: Any) -> dict[str, Any]:
    if isinstance(step, ToNormalizedTensor):
        if step.normalize is None:
            return {}
        mean, std = step.normalize["mean"], step.normalize["std"]
    else:
        mean, std = step.mean, step.std
    return {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}


def _check_bilinear(step: Any) -> None:
    if _interpolation(step) not in ("bilinear", 2):
        raise ValueError(
            f"{_name(step)} must interpolate bilinearly, got {_interpolation(step)!r}."
        )


def _interpolation(step: Any) -> Any:
    """The name of the interpolation, or Pillow's number of it."""
    return getattr(step.interpolation, "value", step.interpolation)


Reader = Callable[[Any], dict[str, Any]]


def _prob(name: str) -> Reader:
    return lambda step: {name: float(step.p)}


# The steps, in the one order of batches.
_READERS: tuple[tuple[tuple[type, ...], Reader], ...] = (
    ((v1.RandomResizedCrop, v2.RandomResizedCrop), _crop),
    ((v1.RandomAffine, v2.RandomAffine), _affine),
    (
        (v1.RandomHorizontalFlip, v2.RandomHorizontalFlip),
        _prob("horizontal_flip_prob"),
    ),
    ((v1.RandomVerticalFlip, v2.RandomVerticalFlip), _prob("vertical_flip_prob")),
    ((RandomRotate, RandomRotateDegrees), _rotation),
    ((v1.RandomApply, v2.RandomApply, v1.ColorJitter, v2.ColorJitter), _jitter),
    ((v1.RandomGrayscale, v2.RandomGrayscale), _prob("gray_prob")),
    (
        (GaussianBlur,),
        lambda step: {"blur_prob": step.prob, "blur_sigmas": tuple(step.sigmas)},
    ),
    (
        (RandomSolarization,),
        lambda step: {
            "solarize_prob": step.prob,
            "solarize_threshold": step.threshold,
        },
    ),
    ((v1.Normalize, v2.Normalize, ToNormalizedTensor), _normalize),
)
