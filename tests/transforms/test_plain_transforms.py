"""The plain transform, for single images and batches, and the normalisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
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
    BatchedTestTransform,
    HaDisTestTransform,
    ToNormalizedTensor,
)

ImageMaker = Callable[..., Image.Image]


@pytest.mark.parametrize("normalize", [CIFAR10_NORMALIZE, IMAGENET_NORMALIZE, None])
def test_image_of_the_right_size_is_only_normalised(
    normalize: dict[str, list[float]] | None, random_image: ImageMaker
) -> None:
    image = random_image(17, 9)
    expected = T.ToTensor()(image)
    if normalize is not None:
        expected = T.Normalize(**normalize)(expected)
    made = ToNormalizedTensor(normalize)(image)
    assert made.is_contiguous()
    torch.testing.assert_close(made, torch.as_tensor(expected), atol=2e-6, rtol=0)
    image = random_image(16, 16)
    square = HaDisTestTransform(16, normalize)(image)
    assert torch.equal(square, ToNormalizedTensor(normalize)(image))


def test_keeps_the_centre_of_a_wide_image() -> None:
    pixels = np.zeros((10, 30), dtype=np.uint8)
    pixels[:, 10:20] = 255
    tensor = HaDisTestTransform(10, normalize=None)(Image.fromarray(pixels))
    torch.testing.assert_close(tensor, torch.ones(1, 10, 10))


@pytest.mark.parametrize("size", [(16, 16), (48, 40), (20, 33), (9, 9), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_like_single_images(
    size: tuple[int, int], channels: int, random_image: ImageMaker
) -> None:
    normalize = {"mean": [0.5] * channels, "std": [0.25] * channels}
    image = random_image(*size, channels)
    pixels = torch.from_numpy(np.array(image)).reshape(1, size[1], size[0], channels)
    for side in (16, 1):
        expected = HaDisTestTransform(side, normalize)(image)
        made = BatchedTestTransform(side, normalize)(pixels.permute(0, 3, 1, 2))
        assert made.shape == (1, channels, side, side)
        # Two levels of 255 apart at most, since both round after each direction.
        assert (made[0] - expected).abs().max() <= 2 / 255 / 0.25 + 1e-5


def test_wrong_arguments_are_named(random_image: ImageMaker) -> None:
    for kind in (HaDisTestTransform, BatchedTestTransform):
        with pytest.raises(ValueError, match=r"^input_size must be .* got -1"):
            kind(input_size=-1)
        with pytest.raises(ValueError, match=r"^std must be .* got \[0.0\]"):
            kind(8, {"mean": [0.0], "std": [0.0]})
    with pytest.raises(TypeError, match=r"^images must be uint8"):
        BatchedTestTransform(8)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"^images must have shape \(n, c, h, w\), "):
        BatchedTestTransform(8)(torch.zeros(1, 3, 0, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"3 channel\(s\) but the images have 1"):
        BatchedTestTransform(8)(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"1 channel\(s\) but the image has 3"):
        HaDisTestTransform(32, normalize=DIGITS_NORMALIZE)(random_image())


def test_statistics_are_the_papers_and_those_of_the_digits() -> None:
    pixels = load_digits().images / 16
    assert DIGITS_NORMALIZE["mean"] == [round(float(pixels.mean()), 4)]
    assert DIGITS_NORMALIZE["std"] == [round(float(pixels.std()), 4)]
    assert CIFAR10_NORMALIZE == {
        "mean": [0.4914, 0.4822, 0.4465],
        "std": [0.2023, 0.1994, 0.2010],
    }
    assert CIFAR100_NORMALIZE == {
        "mean": [0.5071, 0.4867, 0.4408],
        "std": [0.2675, 0.2565, 0.2761],
    }
