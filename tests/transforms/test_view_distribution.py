"""The distribution of a view is read from transforms of lightly, torchvision and us."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from lightly.transforms import (
    BYOLTransform,
    DenseCLTransform,
    DINOTransform,
    FastSiamTransform,
    Jigsaw,
    MMCRTransform,
    MoCoV1Transform,
    MoCoV2Transform,
    SimCLRTransform,
    SimSiamTransform,
    TiCoTransform,
)
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.torchvision_v2_compatibility import ToTensor
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2

from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    IMAGENET_NORMALIZE,
    HaDisTransform,
)
from hadis_lightly.transforms.view_distribution import (
    ViewDistribution,
    read_distribution,
)

IMAGENET = {
    "mean": tuple(IMAGENET_NORMALIZE["mean"]),
    "std": tuple(IMAGENET_NORMALIZE["std"]),
}


def ours(*args: Any, **settings: Any) -> Any:
    return HaDisTransform(*args, **settings).transforms[0]


def around(centre: float, strength: float) -> Any:
    return pytest.approx((centre - strength, centre + strength))


def test_every_setting_of_ours_is_read() -> None:
    transform = ours(
        input_size=24,
        cj_prob=0.31,
        cj_bright=0.32,
        cj_contrast=0.33,
        cj_sat=0.34,
        cj_hue=0.15,
        min_scale=0.36,
        random_gray_scale=0.37,
        hf_prob=0.38,
        normalize=CIFAR10_NORMALIZE,
        cj_strength=0.5,
        vf_prob=0.39,
        rr_prob=0.41,
        rr_degrees=(4.0, 20.0),
        gaussian_blur=0.42,
        sigmas=(0.43, 1.44),
        solarization_prob=0.45,
        affine_degrees=16.0,
        affine_translate=0.07,
        affine_shear=8.0,
    )
    view = read_distribution(transform)
    for limits, expected in zip(
        view.jitter, [(1, 0.16), (1, 0.165), (1, 0.17), (0, 0.075)], strict=True
    ):
        assert limits == around(*expected)
    assert view == ViewDistribution(
        size=24,
        crop_scale=(0.36, 1.0),
        affine_degrees=(-16.0, 16.0),
        affine_translate=(0.07, 0.07),
        affine_shear=(-8.0, 8.0),
        horizontal_flip_prob=0.38,
        vertical_flip_prob=0.39,
        rotation_prob=0.41,
        rotation_degrees=(4.0, 20.0),
        jitter_prob=0.31,
        jitter=view.jitter,
        gray_prob=0.37,
        blur_prob=0.42,
        blur_sigmas=(0.43, 1.44),
        solarize_prob=0.45,
        mean=tuple(CIFAR10_NORMALIZE["mean"]),
        std=tuple(CIFAR10_NORMALIZE["std"]),
    )


def test_what_is_off_keeps_its_defaults() -> None:
    transform = ours(
        16, cj_prob=0.0, random_gray_scale=0.0, hf_prob=0.0, normalize=None
    )
    assert read_distribution(transform) == ViewDistribution(size=16)


@pytest.mark.parametrize(
    ("degrees", "limits"),
    [
        (None, (90.0, 90.0)),
        (15.0, (-15.0, 15.0)),
        ((-5.0, 30.0), (-5.0, 30.0)),
    ],
)
def test_rotation_in_its_three_forms(
    degrees: float | tuple[float, float] | None, limits: tuple[float, float]
) -> None:
    for make in (ours, BYOLView1Transform):
        view = read_distribution(make(32, rr_prob=0.3, rr_degrees=degrees))
        assert view.rotation_prob == 0.3
        assert view.rotation_degrees == limits


@pytest.mark.parametrize(
    ("setting", "limits"),
    [
        ({"affine_degrees": 15.0}, (-15.0, 15.0)),
        ({"affine_translate": 0.1}, (0.1, 0.1)),
        ({"affine_shear": 5.0}, (-5.0, 5.0)),
    ],
)
def test_affine_map_in_part(
    setting: dict[str, float], limits: tuple[float, float]
) -> None:
    (name,) = setting
    view = read_distribution(ours(**setting))
    for other in ("affine_degrees", "affine_translate", "affine_shear"):
        assert getattr(view, other) == (limits if other == name else (0.0, 0.0))


def test_first_view_of_byol() -> None:
    view = read_distribution(BYOLView1Transform())
    assert view == ViewDistribution(
        size=224,
        horizontal_flip_prob=0.5,
        rotation_degrees=(90.0, 90.0),  # with probability 0
        jitter_prob=0.8,
        jitter=((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1)),
        gray_prob=0.2,
        blur_prob=1.0,
        blur_sigmas=(0.1, 2),
        **IMAGENET,
    )


def test_second_view_of_byol_is_seldom_blurred_and_sometimes_solarized() -> None:
    first = read_distribution(BYOLView1Transform(input_size=32))
    second = read_distribution(BYOLView2Transform(input_size=32))
    assert (second.blur_prob, second.solarize_prob) == (0.1, 0.2)
    assert second.solarize_threshold == 128
    assert first != second
    same = BYOLView2Transform(input_size=32, gaussian_blur=1.0, solarization_prob=0.0)
    assert read_distribution(same) == first


@pytest.mark.parametrize(
    ("kind", "num_views"),
    [
        (BYOLTransform, 2),
        (TiCoTransform, 2),
        (SimCLRTransform, 2),
        (SimSiamTransform, 2),
        (MoCoV1Transform, 2),
        (MoCoV2Transform, 2),
        (DenseCLTransform, 2),
        (FastSiamTransform, 4),
        (MMCRTransform, 8),
    ],
)
def test_transforms_of_lightly_made_of_the_same_steps(
    kind: Callable[[], Any], num_views: int
) -> None:
    views = [read_distribution(transform) for transform in kind().transforms]
    assert len(views) == num_views
    for view in views:
        assert view.size == 224
        assert view.jitter_prob > 0
        assert view.blur_prob > 0 or kind is MoCoV1Transform
        assert view.mean == IMAGENET["mean"]


def to_tensor(kind: ModuleType) -> list[Any]:
    if kind is v1:
        return [v1.ToTensor()]
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]


@pytest.mark.parametrize("kind", [v1, v2])
def test_plain_torchvision(kind: ModuleType) -> None:
    transform = kind.Compose(
        [
            kind.RandomResizedCrop(28, scale=(0.2, 0.9), ratio=(0.5, 2.0)),
            kind.RandomAffine(
                (-10, 20),
                translate=(0.1, 0.2),
                shear=(-3, 4),
                interpolation=InterpolationMode.BILINEAR,
            ),
            kind.RandomHorizontalFlip(0.4),
            kind.RandomVerticalFlip(0.3),
            kind.RandomApply([kind.ColorJitter((0.5, 0.9), 0.4, 0.3, 0.2)], p=0.7),
            kind.RandomGrayscale(0.25),
            *to_tensor(kind),
            kind.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]),
        ]
    )
    view = read_distribution(transform)
    assert view == ViewDistribution(
        size=28,
        crop_scale=(0.2, 0.9),
        crop_ratio=(0.5, 2.0),
        affine_degrees=(-10.0, 20.0),
        affine_translate=(0.1, 0.2),
        affine_shear=(-3.0, 4.0),
        horizontal_flip_prob=0.4,
        vertical_flip_prob=0.3,
        jitter_prob=0.7,
        jitter=((0.5, 0.9), (0.6, 1.4), (0.7, 1.3), (-0.2, 0.2)),
        gray_prob=0.25,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
    )
    assert len({view, read_distribution(transform)}) == 1  # it can be hashed


@pytest.mark.parametrize("kind", [v1, v2])
def test_steps_of_both_torchvisions_in_nested_composes(kind: ModuleType) -> None:
    inner = v2.Compose([kind.RandomHorizontalFlip(0.3), v1.ColorJitter(0.2)])
    steps = [kind.RandomResizedCrop(28), inner, GaussianBlur(prob=0.4)]
    view = read_distribution(v1.Compose([kind.Compose(steps), ToTensor()]))
    assert view.horizontal_flip_prob == 0.3
    assert (view.jitter_prob, view.jitter[0]) == (1.0, (0.8, 1.2))
    assert view.blur_prob == 0.4 and view.blur_sigmas == (0.2, 2)


@pytest.mark.parametrize("interpolation", [InterpolationMode.BILINEAR, 2])
def test_bilinear_by_name_or_number_of_pillow(
    interpolation: InterpolationMode | int,
) -> None:
    crop = v2.RandomResizedCrop(28, interpolation=interpolation)
    assert read_distribution(crop).size == 28


CROP = v2.RandomResizedCrop(28)


def jigsaw() -> Jigsaw:
    """Holds a Compose, and does more than that."""
    return Jigsaw(transform=v1.Compose([v1.RandomResizedCrop(64), v1.ToTensor()]))


def affine(**settings: Any) -> v2.RandomAffine:
    bilinear = {"interpolation": InterpolationMode.BILINEAR}
    return v2.RandomAffine(5, **bilinear | settings)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([CROP, v1.CenterCrop(8)], "CenterCrop is not a step that BatchedViews"),
        ([CROP, v2.GaussianBlur(3)], "GaussianBlur is not a step"),  # torchvision's
        ([CROP, abs], "abs is not a step"),
        ([jigsaw()], "Jigsaw is not a step"),
        ([v1.RandomHorizontalFlip(), CROP], "RandomResizedCrop comes twice, or later"),
        ([CROP, v1.ColorJitter(0.1), v1.ColorJitter(0.2)], "ColorJitter comes twice"),
        ([v1.ToTensor()], "transform has no RandomResizedCrop"),
        (DINOTransform().transforms[:1], ".* bilinearly, got 'bicubic'"),
        ([v1.RandomResizedCrop(28, antialias=None)], ".* must have antialias=True"),
        ([v1.RandomResizedCrop((28, 32))], r"size must be .* square, got \(28, 32\)"),
        (
            [CROP, v1.RandomApply([v1.RandomHorizontalFlip()])],
            r"RandomApply must apply a ColorJitter, got \['RandomHorizontalFlip'\]",
        ),
        ([CROP, v2.ToDtype(torch.float32)], "ToDtype must have scale=True"),
        ([CROP, affine(shear=(-5, 5, -5, 5))], "RandomAffine may .* along x only"),
        ([CROP, affine(fill=128)], "RandomAffine must fill with 0, got 128"),
    ],
)
def test_steps_that_batches_cannot_do_are_named(steps: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        read_distribution(v1.Compose(steps))
