"""The law of a view is read out of the transforms of lightly, torchvision and ours."""

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
    VICRegTransform,
    WMSETransform,
)
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.rotation import RandomRotate, RandomRotateDegrees
from lightly.transforms.simclr_transform import SimCLRViewTransform
from lightly.transforms.smog_transform import SmoGViewTransform
from lightly.transforms.solarize import RandomSolarization
from lightly.transforms.torchvision_v2_compatibility import ToTensor
from torch import nn
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode, v2

from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    DIGITS_NORMALIZE,
    IMAGENET_NORMALIZE,
    HaDisTransform,
    HaDisViewTransform,
    ToNormalizedTensor,
)
from hadis_lightly.transforms.view_settings import (
    AffineLaw,
    ViewSettings,
    view_settings,
)

IMAGENET = {
    "mean": tuple(IMAGENET_NORMALIZE["mean"]),
    "std": tuple(IMAGENET_NORMALIZE["std"]),
}


def around(centre: float, strength: float) -> Any:
    return pytest.approx((centre - strength, centre + strength))


def test_paper_views() -> None:
    view = view_settings(HaDisTransform().transforms[0])
    assert view == ViewSettings(
        size=32,
        crop_scale=(0.08, 1.0),
        crop_ratio=(3 / 4, 4 / 3),
        horizontal_flip_prob=0.5,
        jitter_prob=0.8,
        brightness=(0.6, 1.4),
        contrast=(0.6, 1.4),
        saturation=(0.6, 1.4),
        hue=(-0.1, 0.1),
        gray_prob=0.2,
        **IMAGENET,
    )
    assert view.jitter == (view.brightness, view.contrast, view.saturation, view.hue)


def test_every_setting_of_ours_is_read() -> None:
    transform = HaDisViewTransform(
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
    view = view_settings(transform)
    assert view.brightness == around(1, 0.16)
    assert view.contrast == around(1, 0.165)
    assert view.saturation == around(1, 0.17)
    assert view.hue == around(0, 0.075)
    expected = ViewSettings(
        size=24,
        crop_scale=(0.36, 1.0),
        affine=AffineLaw((-16.0, 16.0), (0.07, 0.07), (-8.0, 8.0)),
        horizontal_flip_prob=0.38,
        vertical_flip_prob=0.39,
        rotation_prob=0.41,
        rotation_degrees=(4.0, 20.0),
        jitter_prob=0.31,
        brightness=view.brightness,
        contrast=view.contrast,
        saturation=view.saturation,
        hue=view.hue,
        gray_prob=0.37,
        blur_prob=0.42,
        blur_sigmas=(0.43, 1.44),
        solarize_prob=0.45,
        mean=tuple(CIFAR10_NORMALIZE["mean"]),
        std=tuple(CIFAR10_NORMALIZE["std"]),
    )
    assert view == expected


def test_what_is_off_keeps_its_defaults() -> None:
    transform = HaDisViewTransform(
        16, cj_prob=0.0, random_gray_scale=0.0, hf_prob=0.0, normalize=None
    )
    assert view_settings(transform) == ViewSettings(size=16)


def test_certain_jitter_needs_no_random_apply() -> None:
    view = view_settings(HaDisViewTransform(cj_prob=1.0, cj_hue=0.0))
    assert view.jitter_prob == 1.0
    assert view.hue is None and view.contrast == (0.6, 1.4)


def test_strong_jitter_ends_at_zero() -> None:
    assert view_settings(HaDisViewTransform(cj_bright=1.5)).brightness == (0.0, 2.5)


def test_grey_images_have_one_mean() -> None:
    view = view_settings(HaDisViewTransform(normalize=DIGITS_NORMALIZE))
    assert view.mean == (0.3053,) and view.std == (0.376,)


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
    for make in (HaDisViewTransform, BYOLView1Transform):
        view = view_settings(make(32, rr_prob=0.3, rr_degrees=degrees))
        assert view.rotation_prob == 0.3
        assert view.rotation_degrees == limits


@pytest.mark.parametrize(
    ("affine", "law"),
    [
        ({"affine_degrees": 15.0}, AffineLaw((-15.0, 15.0), (0.0, 0.0), (0.0, 0.0))),
        ({"affine_translate": 0.1}, AffineLaw((0.0, 0.0), (0.1, 0.1), (0.0, 0.0))),
        ({"affine_shear": 5.0}, AffineLaw((0.0, 0.0), (0.0, 0.0), (-5.0, 5.0))),
    ],
)
def test_affine_map_in_part(affine: dict[str, float], law: AffineLaw) -> None:
    read = view_settings(HaDisViewTransform(**affine)).affine
    assert read == law


def test_first_view_of_byol() -> None:
    view = view_settings(BYOLView1Transform())
    assert view == ViewSettings(
        size=224,
        horizontal_flip_prob=0.5,
        rotation_degrees=(90.0, 90.0),  # with probability 0
        jitter_prob=0.8,
        brightness=(0.6, 1.4),
        contrast=(0.6, 1.4),
        saturation=(0.8, 1.2),
        hue=(-0.1, 0.1),
        gray_prob=0.2,
        blur_prob=1.0,
        blur_sigmas=(0.1, 2),
        **IMAGENET,
    )


def test_second_view_of_byol_is_seldom_blurred_and_sometimes_solarized() -> None:
    first = view_settings(BYOLView1Transform(input_size=32))
    second = view_settings(BYOLView2Transform(input_size=32))
    assert (second.blur_prob, second.solarize_prob) == (0.1, 0.2)
    assert second.solarize_threshold == 128
    assert first != second
    same = BYOLView2Transform(input_size=32, gaussian_blur=1.0, solarization_prob=0.0)
    assert view_settings(same) == first


def test_view_of_simclr() -> None:
    view = view_settings(SimCLRViewTransform(input_size=32, normalize=None))
    assert view.jitter_prob == 0.8
    assert view.brightness == around(1, 0.8)
    assert view.hue == (-0.2, 0.2)
    assert view.blur_prob == 0.5
    assert view.solarize_prob == 0.0
    assert view.mean is None and view.std is None


def test_crop_of_smog_has_a_scale_of_its_own() -> None:
    transform = SmoGViewTransform(
        crop_size=48, crop_min_scale=0.05, crop_max_scale=0.2, solarize_prob=0.3
    )
    view = view_settings(transform)
    assert (view.size, view.crop_scale) == (48, (0.05, 0.2))
    assert view.solarize_prob == 0.3


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
    views = [view_settings(transform) for transform in kind().transforms]
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
    view = view_settings(transform)
    assert view == ViewSettings(
        size=28,
        crop_scale=(0.2, 0.9),
        crop_ratio=(0.5, 2.0),
        affine=AffineLaw((-10.0, 20.0), (0.1, 0.2), (-3.0, 4.0)),
        horizontal_flip_prob=0.4,
        vertical_flip_prob=0.3,
        jitter_prob=0.7,
        brightness=(0.5, 0.9),
        contrast=(0.6, 1.4),
        saturation=(0.7, 1.3),
        hue=(-0.2, 0.2),
        gray_prob=0.25,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
    )
    assert len({view, view_settings(transform)}) == 1  # it can be hashed


@pytest.mark.parametrize("kind", [v1, v2])
def test_steps_of_both_torchvisions_in_nested_composes(kind: ModuleType) -> None:
    inner = v2.Compose([kind.RandomHorizontalFlip(0.3), v1.ColorJitter(0.2)])
    steps = [kind.RandomResizedCrop(28), inner, GaussianBlur(prob=0.4)]
    view = view_settings(v1.Compose([kind.Compose(steps), ToTensor()]))
    assert view.horizontal_flip_prob == 0.3
    assert (view.jitter_prob, view.brightness) == (1.0, (0.8, 1.2))
    assert view.blur_prob == 0.4 and view.blur_sigmas == (0.2, 2)


def test_steps_of_lightly_by_themselves() -> None:
    transform = v1.Compose(
        [
            v1.RandomResizedCrop((28, 28)),
            RandomRotate(prob=0.3, angle=180),
            RandomSolarization(prob=0.2, threshold=100),
            ToNormalizedTensor(DIGITS_NORMALIZE),
        ]
    )
    view = view_settings(transform)
    assert (view.rotation_prob, view.rotation_degrees) == (0.3, (180.0, 180.0))
    assert (view.solarize_prob, view.solarize_threshold) == (0.2, 100)
    assert view.mean == (0.3053,)


def test_lone_crop_is_a_view() -> None:
    assert view_settings(v2.RandomResizedCrop(28)) == ViewSettings(size=28)


@pytest.mark.parametrize("interpolation", [InterpolationMode.BILINEAR, 2])
def test_bilinear_by_name_or_number_of_pillow(
    interpolation: InterpolationMode | int,
) -> None:
    crop = v2.RandomResizedCrop(28, interpolation=interpolation)
    assert view_settings(crop).size == 28


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (v1.RandomPerspective(), "RandomPerspective"),
        (v2.RandomSolarize(0.5), "RandomSolarize"),
        (v2.GaussianBlur(3), "GaussianBlur"),  # torchvision's, with one kernel size
        (v1.CenterCrop(8), "CenterCrop"),
        (v1.RandomRotation(10), "RandomRotation"),
        (nn.Identity(), "Identity"),
        (v1.Lambda(abs), "Lambda"),
        (abs, "abs"),
    ],
)
def test_unknown_step_is_named(step: Any, name: str) -> None:
    transform = v1.Compose([v1.RandomResizedCrop(28), step, v1.ToTensor()])
    with pytest.raises(ValueError, match=f"^{name} is not a step that BatchedViews"):
        view_settings(transform)


def test_something_that_is_no_transform_is_named() -> None:
    with pytest.raises(ValueError, match=r"^NoneType is not a step"):
        view_settings(None)


def test_jigsaw_is_no_compose_though_it_holds_one() -> None:
    jigsaw = Jigsaw(transform=v1.Compose([v1.RandomResizedCrop(64), v1.ToTensor()]))
    with pytest.raises(ValueError, match=r"^Jigsaw is not a step"):
        view_settings(jigsaw)


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ([v1.RandomHorizontalFlip(), v1.RandomResizedCrop(28)], "RandomResizedCrop"),
        (
            [v1.RandomResizedCrop(28), v1.RandomGrayscale(), v1.ColorJitter(0.1)],
            "ColorJitter",
        ),
        (
            [v1.RandomResizedCrop(28), v1.RandomVerticalFlip(), v1.RandomAffine(5)],
            "RandomAffine",
        ),
    ],
)
def test_another_order_is_an_error(steps: list[Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} comes twice, or later than"):
        view_settings(v1.Compose(steps))


def test_step_that_comes_twice_is_an_error() -> None:
    steps = [v1.RandomResizedCrop(28), v1.ColorJitter(0.1), v1.ColorJitter(0.2)]
    with pytest.raises(ValueError, match="ColorJitter"):
        view_settings(v1.Compose(steps))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(WMSETransform, "RandomResizedCrop"), (VICRegTransform, "GaussianBlur")],
)
def test_transforms_of_lightly_of_another_order(
    kind: Callable[[], Any], name: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name} comes twice, or later than"):
        view_settings(kind().transforms[0])


@pytest.mark.parametrize("steps", [[], [v1.ToTensor()], [v1.RandomHorizontalFlip()]])
def test_view_without_a_crop_is_an_error(steps: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"^transform has no RandomResizedCrop"):
        view_settings(v1.Compose(steps))


@pytest.mark.parametrize("kind", [v1, v2])
@pytest.mark.parametrize("mode", [InterpolationMode.BICUBIC, InterpolationMode.NEAREST])
def test_crop_must_interpolate_bilinearly(
    kind: ModuleType, mode: InterpolationMode
) -> None:
    crop = kind.RandomResizedCrop(28, interpolation=mode)
    with pytest.raises(ValueError, match=rf"^RandomResizedCrop must .*'{mode.value}'$"):
        view_settings(crop)


def test_dino_interpolates_with_cubes() -> None:
    with pytest.raises(ValueError, match="must interpolate bilinearly, got 'bicubic'"):
        view_settings(DINOTransform().transforms[0])


@pytest.mark.parametrize("kind", [v1, v2])
@pytest.mark.parametrize("antialias", [False, None])
def test_crop_must_be_antialiased(kind: ModuleType, antialias: bool | None) -> None:
    crop = kind.RandomResizedCrop(28, antialias=antialias)
    with pytest.raises(ValueError, match="must have antialias=True"):
        view_settings(crop)


@pytest.mark.parametrize("kind", [v1, v2])
def test_views_are_square(kind: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"^size must be .* square, got \(28, 32\)$"):
        view_settings(kind.RandomResizedCrop((28, 32)))


@pytest.mark.parametrize("kind", [v1, v2])
def test_random_apply_is_for_a_jitter_alone(kind: ModuleType) -> None:
    jitter, flip = kind.ColorJitter(0.1), kind.RandomHorizontalFlip()
    for steps, names in (
        ([flip], r"\['RandomHorizontalFlip'\]"),
        ([jitter, flip], r"\['ColorJitter', 'RandomHorizontalFlip'\]"),
    ):
        apply = kind.RandomApply(steps, p=0.5)
        transform = kind.Compose([kind.RandomResizedCrop(28), apply])
        with pytest.raises(ValueError, match=f"^RandomApply must .* got {names}$"):
            view_settings(transform)


def test_pixels_are_scaled_to_one() -> None:
    steps = [v2.RandomResizedCrop(28), v2.ToImage(), v2.ToDtype(torch.float32)]
    with pytest.raises(ValueError, match=r"^ToDtype must have scale=True"):
        view_settings(v2.Compose(steps))


@pytest.mark.parametrize("kind", [v1, v2])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scale": (0.8, 1.2)}, "may rotate, shift and shear along x only"),
        ({"shear": (-5, 5, -5, 5)}, "may rotate, shift and shear along x only"),
        ({"center": (0, 0)}, "about the centre"),
        ({"fill": 128}, "must fill with 0, got 128"),
        ({"interpolation": InterpolationMode.NEAREST}, "bilinearly, got 'nearest'"),
    ],
)
def test_affine_map_that_batches_cannot_do(
    kind: ModuleType, settings: dict[str, Any], words: str
) -> None:
    settings = {"interpolation": InterpolationMode.BILINEAR} | settings
    affine = kind.RandomAffine(5, **settings)
    transform = kind.Compose([kind.RandomResizedCrop(28), affine])
    with pytest.raises(ValueError, match=f"^RandomAffine .*{words}"):
        view_settings(transform)


def test_vertical_shear_of_zero_is_none() -> None:
    affine = v2.RandomAffine(
        5, shear=(-4, 4, 0, 0), interpolation=InterpolationMode.BILINEAR
    )
    view = view_settings(v2.Compose([v2.RandomResizedCrop(28), affine]))
    assert view.affine is not None and view.affine.shear == (-4.0, 4.0)


@pytest.mark.parametrize(
    "settings",
    [{"expand": True}, {"interpolation": InterpolationMode.BILINEAR}],
)
def test_rotation_that_batches_cannot_do(settings: dict[str, Any]) -> None:
    rotation = RandomRotateDegrees(prob=0.5, degrees=10)
    rotation.transform.transforms[0] = v2.RandomRotation(10, **settings)
    transform = v2.Compose([v2.RandomResizedCrop(28), rotation])
    with pytest.raises(
        ValueError, match=r"^RandomRotation must take the nearest pixel"
    ):
        view_settings(transform)
