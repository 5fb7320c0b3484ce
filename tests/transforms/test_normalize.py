from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as T
from PIL import Image
from sklearn.datasets import load_digits

from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    CIFAR100_NORMALIZE,
    DIGITS_NORMALIZE,
    IMAGENET_NORMALIZE,
    HaDisTestTransform,
    HaDisTransform,
    ToNormalizedTensor,
)

ImageMaker = Callable[..., Image.Image]


@pytest.mark.parametrize("normalize", [CIFAR10_NORMALIZE, IMAGENET_NORMALIZE, None])
def test_equals_to_tensor_and_normalize(
    normalize: dict[str, list[float]] | None, random_image: ImageMaker
) -> None:
    image = random_image(17, 9)
    expected = T.ToTensor()(image)
    if normalize is not None:
        expected = T.Normalize(**normalize)(expected)
    actual = ToNormalizedTensor(normalize)(image)
    assert actual.is_contiguous()
    torch.testing.assert_close(actual, torch.as_tensor(expected), atol=2e-6, rtol=0)


@pytest.mark.parametrize("mode", ["RGBA", "P", "I;16", "CMYK", "1", "F"])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"mode L or RGB, got {mode}"):
        ToNormalizedTensor(None)(Image.new(mode, (4, 4)))


def test_channels_must_agree(random_image: ImageMaker) -> None:
    with pytest.raises(ValueError, match=r"3 channel\(s\) but the image has 1"):
        HaDisTransform()(random_image(channels=1))
    with pytest.raises(ValueError, match=r"1 channel\(s\) but the image has 3"):
        HaDisTestTransform(32, normalize=DIGITS_NORMALIZE)(random_image())


def test_only_pil_images() -> None:
    with pytest.raises(TypeError, match="PIL image, got Tensor"):
        ToNormalizedTensor(None)(torch.zeros(3, 4, 4))


@pytest.mark.parametrize(
    "normalize",
    [
        {"mean": [0.5]},
        {"mean": [0.5, 0.5], "std": [1.0, 1.0]},
        {"mean": [0.5] * 3, "std": [1.0]},
        {"mean": [0.5], "std": [-1.0]},
        {"mean": ["a"], "std": [1.0]},
        [0.5, 0.5],
    ],
)
def test_bad_normalize_is_named(normalize: object) -> None:
    with pytest.raises(ValueError, match=r"^normalize"):
        HaDisTransform(normalize=normalize)


def test_digits_statistics_are_those_of_the_data() -> None:
    pixels = load_digits().images / 16
    assert DIGITS_NORMALIZE["mean"] == [round(float(pixels.mean()), 4)]
    assert DIGITS_NORMALIZE["std"] == [round(float(pixels.std()), 4)]


def test_cifar_statistics_are_the_papers() -> None:
    assert CIFAR10_NORMALIZE == {
        "mean": [0.4914, 0.4822, 0.4465],
        "std": [0.2023, 0.1994, 0.2010],
    }
    assert CIFAR100_NORMALIZE == {
        "mean": [0.5071, 0.4867, 0.4408],
        "std": [0.2675, 0.2565, 0.2761],
    }
