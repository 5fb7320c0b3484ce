"""The views of one image at a time, and crops alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as T
from PIL import Image

from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    DIGITS_NORMALIZE,
    HaDisCropTransform,
    HaDisTransform,
)

ImageMaker = Callable[..., Image.Image]
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


def names_of_steps(transform: HaDisTransform) -> list[str]:
    return [type(step).__name__ for step in transform.transforms[0].transforms]


def test_two_views_of_one_distribution(random_image: ImageMaker) -> None:
    transform = HaDisTransform()
    assert isinstance(transform, MultiViewTransform)
    x0, x1 = transform(random_image(40, 30))
    assert x0.shape == x1.shape == (3, 32, 32)
    assert x0.dtype == x1.dtype == torch.float32
    assert not torch.equal(x0, x1)
    assert transform.transforms[0] is transform.transforms[1]


def test_steps_that_change_nothing_are_left_out() -> None:
    assert names_of_steps(HaDisTransform()) == [
        "RandomResizedCrop",
        "RandomHorizontalFlip",
        "RandomApply",
        "RandomGrayscale",
        "ToNormalizedTensor",
    ]
    off = HaDisTransform(cj_prob=0.0, random_gray_scale=0.0, hf_prob=0.0)
    assert names_of_steps(off) == ["RandomResizedCrop", "ToNormalizedTensor"]
    assert "RandomApply" not in names_of_steps(HaDisTransform(cj_strength=0.0))
    affine = HaDisTransform(affine_degrees=15.0).transforms[0].transforms[1]
    assert isinstance(affine, T.RandomAffine)
    assert affine.translate is None and affine.shear is None


@pytest.mark.parametrize(
    ("channels", "normalize"), [(3, CIFAR10_NORMALIZE), (1, DIGITS_NORMALIZE)]
)
def test_grey_and_colour_with_every_step(
    channels: int, normalize: dict[str, list[float]], random_image: ImageMaker
) -> None:
    image = random_image(20, 24, channels)
    before = np.asarray(image).copy()
    transform = HaDisTransform(16, normalize=normalize, **EVERYTHING)
    x0, x1 = pickle.loads(pickle.dumps(transform))(image)  # as sent to a worker
    assert x0.shape == x1.shape == (channels, 16, 16)
    assert torch.isfinite(x0).all()
    np.testing.assert_array_equal(np.asarray(image), before)
    x0, _ = HaDisTransform(normalize=None, **EVERYTHING)(image)
    assert x0.min() >= 0 and x0.max() <= 1


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


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_crops_are_uint8_parts_of_the_image(mode: str, channels: int) -> None:
    image = Image.linear_gradient("L").crop((0, 100, 40, 130)).convert(mode)
    low, high = np.asarray(image).min(), np.asarray(image).max()
    torch.manual_seed(0)
    crops = HaDisCropTransform(16, num_views=3)(image)
    assert crops.shape == (3, channels, 16, 16)
    assert crops.dtype == torch.uint8
    assert not torch.equal(crops[0], crops[1])
    assert low <= crops.min() and crops.max() <= high


@pytest.mark.parametrize("name", ["input_size", "min_scale", "num_views"])
def test_wrong_settings_of_crops_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be .*, got 0"):
        HaDisCropTransform(**{name: 0})


def test_other_images_are_refused(random_image: ImageMaker) -> None:
    for transform in (HaDisTransform(), HaDisCropTransform()):
        with pytest.raises(ValueError, match="must have mode L or RGB, got RGBA"):
            transform(Image.new("RGBA", (4, 4)))
        with pytest.raises(TypeError, match="must be a PIL image, got Tensor"):
            transform(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match=r"3 channel\(s\) but the image has 1"):
        HaDisTransform()(random_image(channels=1))
