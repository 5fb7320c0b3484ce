"""The law of one random view, read out of the transform that draws it per image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.rotation import RandomRotate, RandomRotateDegrees
from lightly.transforms.solarize import RandomSolarization
from torchvision import transforms as v1
from torchvision.transforms import v2

from hadis_lightly.transforms.normalize import ToNormalizedTensor

Range = tuple[float, float]


@dataclass(frozen=True)
class AffineLaw:
    """Ranges of a random affine map, in degrees and fractions of the side."""

    degrees: Range
    translate: Range
    shear: Range


@dataclass(frozen=True)
class ViewSettings:
    """What is drawn for a view, in the order in which it is applied.

    Ranges are those of the uniform draws, ``None`` where a step is left out.
    """

    size: int
    """Side of the view in pixels."""
    crop_scale: Range = (0.08, 1.0)
    """Area of the crop, as a fraction of the image."""
    crop_ratio: Range = (3 / 4, 4 / 3)
    """Width over height of the crop; its logarithm is uniform."""
    affine: AffineLaw | None = None
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


def view_settings(transform: Any) -> ViewSettings:
    """Reads the law of a view out of a transform of lightly, torchvision or ours.

    Args:
        transform: A ``Compose`` of torchvision, or an object that holds one as
            ``transform``, such as lightly's ``BYOLView1Transform``.

    Raises:
        ValueError: If it has a step that batches cannot do, or does it elsewhere in
            the order; it names the step.
    """
    place = -1
    changes: dict[str, Any] = {}
    for step in _steps(transform):
        number = _number(step)
        if number <= place:
            raise ValueError(
                f"{_name(step)} comes twice, or later than BatchedViews does it"
            )
        place = number
        _, read = _READERS[number]
        changes |= read(step)
    if "size" not in changes:
        raise ValueError("transform has no RandomResizedCrop, which a view begins with")
    return replace(ViewSettings(size=changes.pop("size")), **changes)


def _steps(transform: Any) -> Iterator[Any]:
    """The steps of nested transforms, those with no effect on the pixels left out."""
    compose = (v1.Compose, v2.Compose)
    if not isinstance(transform, compose):
        # Of lightly's views and ours, which hold nothing else.
        inner = getattr(transform, "transform", None)
        if isinstance(inner, compose) and set(vars(transform)) == {"transform"}:
            transform = inner
    if isinstance(transform, compose):
        for step in transform.transforms:
            yield from _steps(step)
    elif isinstance(transform, v2.ToDtype):
        if not transform.scale:
            raise ValueError("ToDtype must have scale=True, for pixels in 0..1")
    elif not isinstance(transform, (v1.ToTensor, v2.ToTensor, v2.ToImage)):
        yield transform


def _number(step: Any) -> int:
    """Which of the steps it is, in the order of batches."""
    for number, (kinds, _) in enumerate(_READERS):
        if isinstance(step, kinds):
            return number
    raise ValueError(f"{_name(step)} is not a step that BatchedViews can do")


def _name(step: Any) -> str:
    return str(getattr(step, "__qualname__", type(step).__name__))


def _crop(step: Any) -> dict[str, Any]:
    sides = step.size if isinstance(step.size, (tuple, list)) else [step.size]
    if len(set(sides)) > 1:
        raise ValueError(f"size must be one side of a square, got {tuple(sides)}")
    _check_bilinear(step)
    if not step.antialias:
        raise ValueError("RandomResizedCrop must have antialias=True")
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
            "RandomAffine may rotate, shift and shear along x only, about the centre"
        )
    if step.fill not in (0, None):
        raise ValueError(f"RandomAffine must fill with 0, got {step.fill!r}")
    law = AffineLaw(tuple(step.degrees), tuple(step.translate or (0.0, 0.0)), shear[:2])
    return {"affine": law}


def _rotation(step: Any) -> dict[str, Any]:
    if isinstance(step, RandomRotate):
        angle = float(step.angle)
        return {"rotation_prob": step.prob, "rotation_degrees": (angle, angle)}
    apply: Any = step.transform
    rotation = apply.transforms[0]
    if _interpolation(rotation) not in ("nearest", 0) or rotation.expand:
        raise ValueError("RandomRotation must take the nearest pixel and not expand")
    return {
        "rotation_prob": float(apply.p),
        "rotation_degrees": tuple(rotation.degrees),
    }


def _jitter(step: Any) -> dict[str, Any]:
    prob, jitter = 1.0, step
    if isinstance(step, (v1.RandomApply, v2.RandomApply)):
        if len(step.transforms) != 1 or not isinstance(
            step.transforms[0], (v1.ColorJitter, v2.ColorJitter)
        ):
            inner = [_name(step) for step in step.transforms]
            raise ValueError(f"RandomApply must apply a ColorJitter, got {inner}")
        prob, jitter = float(step.p), step.transforms[0]
    names = ("brightness", "contrast", "saturation", "hue")
    ranges = {name: getattr(jitter, name) for name in names}
    return {"jitter_prob": prob} | {
        name: None if value is None else tuple(value) for name, value in ranges.items()
    }


def _solarize(step: Any) -> dict[str, Any]:
    return {"solarize_prob": step.prob, "solarize_threshold": step.threshold}


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
            f"{_name(step)} must interpolate bilinearly, got {_interpolation(step)!r}"
        )


def _interpolation(step: Any) -> Any:
    """The name of the interpolation, or Pillow's number of it."""
    return getattr(step.interpolation, "value", step.interpolation)


# The steps, in the one order that batches go through them.
_READERS: tuple[tuple[tuple[type, ...], Callable[[Any], dict[str, Any]]], ...] = (
    ((v1.RandomResizedCrop, v2.RandomResizedCrop), _crop),
    ((v1.RandomAffine, v2.RandomAffine), _affine),
    (
        (v1.RandomHorizontalFlip, v2.RandomHorizontalFlip),
        lambda step: {"horizontal_flip_prob": float(step.p)},
    ),
    (
        (v1.RandomVerticalFlip, v2.RandomVerticalFlip),
        lambda step: {"vertical_flip_prob": float(step.p)},
    ),
    ((RandomRotate, RandomRotateDegrees), _rotation),
    ((v1.RandomApply, v2.RandomApply, v1.ColorJitter, v2.ColorJitter), _jitter),
    (
        (v1.RandomGrayscale, v2.RandomGrayscale),
        lambda step: {"gray_prob": float(step.p)},
    ),
    (
        (GaussianBlur,),
        lambda step: {"blur_prob": step.prob, "blur_sigmas": tuple(step.sigmas)},
    ),
    ((RandomSolarization,), _solarize),
    ((v1.Normalize, v2.Normalize, ToNormalizedTensor), _normalize),
)
