"""The distribution of random views, read from a transform of single images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.rotation import RandomRotate, RandomRotateDegrees
from lightly.transforms.solarize import RandomSolarization
from torchvision import transforms as v1
from torchvision.transforms import v2

from hadis_lightly.transforms.plain_transforms import ToNormalizedTensor

Range = tuple[float, float]


@dataclass(frozen=True)
class ViewDistribution:
    """What is drawn for a view, in the order in which it is applied.

    Ranges are those of uniform draws.
    """

    size: int
    """Side of the view in pixels."""
    crop_scale: Range = (0.08, 1.0)
    """Area of the crop, as a fraction of the image."""
    crop_ratio: Range = (3 / 4, 4 / 3)
    """Width over height of the crop; its logarithm is uniform."""
    affine_degrees: Range = (0.0, 0.0)
    """Rotation of the affine map, clockwise, bilinear."""
    affine_translate: Range = (0.0, 0.0)
    """Largest shift to the right and downwards, as fractions of the side."""
    affine_shear: Range = (0.0, 0.0)
    """Horizontal shear in degrees."""
    horizontal_flip_prob: float = 0.0
    vertical_flip_prob: float = 0.0
    rotation_prob: float = 0.0
    rotation_degrees: Range = (0.0, 0.0)
    """Angle of the rotation, counter-clockwise, to the nearest pixel."""
    jitter_prob: float = 0.0
    jitter: tuple[Range | None, ...] = (None,) * 4
    """Factors of brightness, contrast and saturation, shift of the hue in turns."""
    gray_prob: float = 0.0
    blur_prob: float = 0.0
    blur_sigmas: Range = (0.1, 2.0)
    """Standard deviation of the blur in pixels."""
    solarize_prob: float = 0.0
    solarize_threshold: int = 128
    """Lowest value, of 0 to 255, that is inverted."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def shrunk(self, share: float) -> ViewDistribution:
        """The same view with sides of that share."""
        low, high = self.blur_sigmas
        return replace(
            self,
            size=max(1, round(share * self.size)),
            blur_sigmas=(share * low, share * high),
        )


def read_views(transform: Any) -> tuple[ViewDistribution, ...]:
    """Reads the distribution of each view of a multi-view transform.

    Raises:
        ValueError: If batches cannot do one of its steps; names the step.
    """
    transforms = getattr(transform, "transforms", None)
    # Of a Compose these are the steps of one view.
    if not transforms or isinstance(transform, (v1.Compose, v2.Compose)):
        raise ValueError(
            "transform must be a multi-view transform with a list of transforms, "
            f"got {type(transform).__name__}."
        )
    views = tuple(read_distribution(view) for view in transforms)
    for name in ("mean", "std"):
        values = {getattr(view, name) for view in views}
        if len(values) > 1:
            raise ValueError(f"all views must have one {name}, got {values}.")
    return views


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
        place, values = _read(step)
        if place <= last:
            raise ValueError(
                f"{_name(step)} comes twice, or later than in BatchedViews."
            )
        last = place
        found |= values
    if "size" not in found:
        raise ValueError("transform has no RandomResizedCrop, which must come first.")
    return ViewDistribution(**found)


def _steps(transform: Any) -> Iterator[Any]:
    """The steps of nested transforms, without those that leave the pixels alone."""
    compose = (v1.Compose, v2.Compose)
    inner = getattr(transform, "transform", None)
    # The views of lightly hold a Compose and nothing else.
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


def _read(step: Any) -> tuple[int, dict[str, Any]]:
    """The place of a step in the order of batches, and what it draws."""
    match step:
        case v1.RandomResizedCrop() | v2.RandomResizedCrop():
            return 0, _read_crop(step)
        case v1.RandomAffine() | v2.RandomAffine():
            return 1, _read_affine(step)
        case v1.RandomHorizontalFlip() | v2.RandomHorizontalFlip():
            return 2, {"horizontal_flip_prob": step.p}
        case v1.RandomVerticalFlip() | v2.RandomVerticalFlip():
            return 3, {"vertical_flip_prob": step.p}
        case RandomRotate():
            degrees = (float(step.angle),) * 2
            return 4, {"rotation_prob": step.prob, "rotation_degrees": degrees}
        case RandomRotateDegrees():
            apply: Any = step.transform
            degrees = tuple(apply.transforms[0].degrees)
            return 4, {"rotation_prob": apply.p, "rotation_degrees": degrees}
        case v1.RandomApply() | v2.RandomApply():
            return 5, _read_jitter(step.transforms, step.p)
        case v1.ColorJitter() | v2.ColorJitter():
            return 5, _read_jitter([step], 1.0)
        case v1.RandomGrayscale() | v2.RandomGrayscale():
            return 6, {"gray_prob": step.p}
        case GaussianBlur():
            return 7, {"blur_prob": step.prob, "blur_sigmas": tuple(step.sigmas)}
        case RandomSolarization():
            threshold = step.threshold
            return 8, {"solarize_prob": step.prob, "solarize_threshold": threshold}
        case v1.Normalize() | v2.Normalize():
            mean, std = (tuple(map(float, x)) for x in (step.mean, step.std))
            return 9, {"mean": mean, "std": std}
        case ToNormalizedTensor():
            return 9, {name: tuple(v) for name, v in (step.normalize or {}).items()}
    raise ValueError(f"{_name(step)} is not a step that BatchedViews can do.")


def _read_crop(step: Any) -> dict[str, Any]:
    side, width = step.size
    if side != width:
        raise ValueError(f"size must be one side of a square, got {(side, width)}.")
    _check_bilinear(step)
    if not step.antialias:
        raise ValueError("RandomResizedCrop must have antialias=True.")
    scale, ratio = tuple(step.scale), tuple(step.ratio)
    return {"size": side, "crop_scale": scale, "crop_ratio": ratio}


def _read_affine(step: Any) -> dict[str, Any]:
    _check_bilinear(step)
    shear = tuple(step.shear or (0.0, 0.0))
    if step.scale is not None or step.center is not None or any(shear[2:]):
        raise ValueError(
            "RandomAffine may rotate, shift and shear along x only, about the centre."
        )
    if step.fill not in (0, None):
        raise ValueError(f"RandomAffine must fill with 0, got {step.fill!r}.")
    return {
        "affine_degrees": tuple(step.degrees),
        "affine_translate": tuple(step.translate or (0.0, 0.0)),
        "affine_shear": shear[:2],
    }


def _read_jitter(steps: Any, prob: float) -> dict[str, Any]:
    jitter = steps[0]
    if len(steps) > 1 or not isinstance(jitter, (v1.ColorJitter, v2.ColorJitter)):
        names = [_name(step) for step in steps]
        raise ValueError(f"RandomApply must apply a ColorJitter, got {names}.")
    parts = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    limits = tuple(part if part is None else tuple(part) for part in parts)
    return {"jitter_prob": prob, "jitter": limits}


def _check_bilinear(step: Any) -> None:
    # The name of the interpolation, or Pillow's number of it.
    value = getattr(step.interpolation, "value", step.interpolation)
    if value not in ("bilinear", 2):
        raise ValueError(f"{_name(step)} must interpolate bilinearly, got {value!r}.")


def _name(step: Any) -> str:
    return str(getattr(step, "__qualname__", type(step).__name__))
