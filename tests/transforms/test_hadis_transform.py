from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lightly.transforms.gaussian_blur import GaussianBlur
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as T
from PIL import Image

from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    DIGITS_NORMALIZE,
    IMAGENET_NORMALIZE,
    HaDisTransform,
    HaDisViewTransform,
)

ImageMaker = Callable[..., Image.Image]

ALL_OFF = {
    "cj_prob": 0.0,
    "min_scale": 1.0,
    "random_gray_scale": 0.0,
    "hf_prob": 0.0,
}
EVERYTHING = {
    "cj_prob": 1.0,
    "vf_prob": 1.0,
    "hf_prob": 1.0,
    "random_gray_scale": 1.0,
    "gaussian_blur": 1.0,
    "solarization_prob": 1.0,
    "rr_prob": 1.0,
    "rr_degrees": 10.0,
    "affine_degrees": 15.0,
    "affine_translate": 0.08,
    "affine_shear": 10.0,
}


def steps_of(transform: HaDisTransform) -> list[object]:
    return list(transform.transforms[0].transform.transforms)


def described(thing: object) -> object:
    """What an object consists of, down to things that can be compared."""
    if isinstance(thing, dict):
        return {name: described(part) for name, part in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [described(part) for part in thing]
    if hasattr(thing, "__dict__"):
        return type(thing).__name__, described(vars(thing))
    return repr(thing)


def test_contract_of_keywords_and_defaults() -> None:
    parameters = inspect.signature(HaDisTransform).parameters
    first = {name: p.default for name, p in list(parameters.items())[:10]}
    assert first == {
        "input_size": 32,
        "cj_prob": 0.8,
        "cj_bright": 0.4,
        "cj_contrast": 0.4,
        "cj_sat": 0.4,
        "cj_hue": 0.1,
        "min_scale": 0.08,
        "random_gray_scale": 0.2,
        "hf_prob": 0.5,
        "normalize": IMAGENET_NORMALIZE,
    }
    assert list(first) == list(parameters)[:10]


def test_one_view_takes_the_same_settings() -> None:
    assert inspect.signature(HaDisTransform) == inspect.signature(HaDisViewTransform)


def test_every_setting_reaches_the_view() -> None:
    other = {
        "input_size": 8,
        "normalize": CIFAR10_NORMALIZE,
        "cj_prob": 0.1,
        "cj_bright": 0.11,
        "cj_contrast": 0.12,
        "cj_sat": 0.13,
        "cj_hue": 0.14,
        "min_scale": 0.15,
        "random_gray_scale": 0.16,
        "hf_prob": 0.17,
        "cj_strength": 0.18,
        "vf_prob": 0.19,
        "rr_prob": 0.21,
        "rr_degrees": 22.0,
        "gaussian_blur": 0.23,
        "sigmas": (0.24, 0.25),
        "solarization_prob": 0.26,
        "affine_degrees": 27.0,
        "affine_translate": 0.28,
        "affine_shear": 29.0,
    }
    assert set(other) == set(inspect.signature(HaDisTransform).parameters)
    view = HaDisTransform(**other).transforms[0]
    assert described(view) == described(HaDisViewTransform(**other))
    assert described(view) != described(HaDisViewTransform(**other | {"cj_sat": 0.5}))


def test_two_views_of_the_same_law(random_image: ImageMaker) -> None:
    transform = HaDisTransform()
    assert isinstance(transform, MultiViewTransform)
    views = transform(random_image(40, 30))
    assert isinstance(views, list)
    x0, x1 = views
    assert x0.shape == x1.shape == (3, 32, 32)
    assert x0.dtype == x1.dtype == torch.float32
    assert not torch.equal(x0, x1)
    assert transform.transforms[0] is transform.transforms[1]


def test_paper_steps_and_no_others() -> None:
    names = [type(step).__name__ for step in steps_of(HaDisTransform())]
    assert names == [
        "RandomResizedCrop",
        "RandomHorizontalFlip",
        "RandomApply",
        "RandomGrayscale",
        "ToNormalizedTensor",
    ]


def test_what_is_off_is_left_out() -> None:
    names = [type(step).__name__ for step in steps_of(HaDisTransform(**ALL_OFF))]
    assert names == ["RandomResizedCrop", "ToNormalizedTensor"]
    for nothing in ({"cj_strength": 0.0}, {"cj_prob": 0.0}):
        steps = steps_of(HaDisTransform(**nothing))
        assert not any(isinstance(step, T.RandomApply) for step in steps)


def test_blur_when_asked_for() -> None:
    steps = steps_of(HaDisTransform(gaussian_blur=0.5))
    assert any(isinstance(step, GaussianBlur) for step in steps)


def test_affine_only_as_far_as_asked_for() -> None:
    affine = steps_of(HaDisTransform(affine_degrees=15.0))[1]
    assert isinstance(affine, T.RandomAffine)
    assert affine.translate is None
    assert affine.shear is None
    assert affine.interpolation == T.InterpolationMode.BILINEAR


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_with_everything_on(
    channels: int, random_image: ImageMaker
) -> None:
    normalize = CIFAR10_NORMALIZE if channels == 3 else DIGITS_NORMALIZE
    transform = HaDisTransform(input_size=16, normalize=normalize, **EVERYTHING)
    x0, x1 = transform(random_image(20, 24, channels))
    assert x0.shape == x1.shape == (channels, 16, 16)
    assert torch.isfinite(x0).all()


@pytest.mark.parametrize(("channels", "normalize"), [(1, None), (3, None)])
def test_without_normalization_pixels_stay_in_unit_range(
    channels: int, normalize: None, random_image: ImageMaker
) -> None:
    x0, _ = HaDisTransform(normalize=None)(random_image(channels=channels))
    assert x0.shape[0] == channels
    assert x0.min() >= 0 and x0.max() <= 1


def test_seed_of_torch_decides_the_paper_views(random_image: ImageMaker) -> None:
    transform = HaDisTransform()
    image = random_image()
    torch.manual_seed(3)
    first = transform(image)
    torch.manual_seed(3)
    second = transform(image)
    assert all(map(torch.equal, first, second))


def test_same_views_as_the_plain_torchvision_pipeline(random_image: ImageMaker) -> None:
    plain = T.Compose(
        [
            T.RandomResizedCrop(size=32, scale=(0.08, 1.0)),
            T.RandomHorizontalFlip(p=0.5),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            T.RandomGrayscale(p=0.2),
            T.ToTensor(),
            T.Normalize(**CIFAR10_NORMALIZE),
        ]
    )
    ours = HaDisTransform(normalize=CIFAR10_NORMALIZE)
    for seed in range(20):
        image = random_image(seed=seed)
        torch.manual_seed(seed)
        expected = [plain(image), plain(image)]
        torch.manual_seed(seed)
        torch.testing.assert_close(ours(image), expected, atol=2e-6, rtol=0)


def test_input_image_is_not_changed(random_image: ImageMaker) -> None:
    image = random_image()
    before = np.asarray(image).copy()
    HaDisTransform(**EVERYTHING)(image)
    np.testing.assert_array_equal(np.asarray(image), before)


def test_can_be_sent_to_a_worker(random_image: ImageMaker) -> None:
    transform = pickle.loads(pickle.dumps(HaDisTransform(**EVERYTHING)))
    assert transform(random_image())[0].shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_size", 0),
        ("input_size", 32.0),
        ("cj_prob", 1.1),
        ("cj_prob", float("nan")),
        ("cj_bright", -0.1),
        ("cj_contrast", -1),
        ("cj_sat", "strong"),
        ("cj_hue", 0.6),
        ("cj_strength", float("inf")),
        ("min_scale", 0.0),
        ("min_scale", 1.5),
        ("random_gray_scale", -0.2),
        ("hf_prob", True),
        ("vf_prob", 2),
        ("rr_prob", -1),
        ("gaussian_blur", 1.01),
        ("sigmas", (2.0, 0.1)),
        ("sigmas", 1.0),
        ("solarization_prob", None),
        ("affine_degrees", -5),
        ("affine_translate", 1.2),
        ("affine_shear", 90),
    ],
)
def test_bad_setting_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*got ") as caught:
        HaDisTransform(**{name: value})
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_strength_times_hue_is_bounded_too() -> None:
    with pytest.raises(ValueError, match=r"cj_strength \* cj_hue"):
        HaDisTransform(cj_strength=6.0, cj_hue=0.1)
