from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from hadis_lightly.transforms import (
    CIFAR10_NORMALIZE,
    HaDisTestTransform,
    ToNormalizedTensor,
)

ImageMaker = Callable[..., Image.Image]


def test_image_of_the_right_size_is_only_normalised(random_image: ImageMaker) -> None:
    image = random_image()
    torch.testing.assert_close(
        HaDisTestTransform(32, CIFAR10_NORMALIZE)(image),
        ToNormalizedTensor(CIFAR10_NORMALIZE)(image),
    )


def test_keeps_the_centre_of_a_wide_image() -> None:
    pixels = np.zeros((10, 30), dtype=np.uint8)
    pixels[:, 10:20] = 255
    tensor = HaDisTestTransform(10, normalize=None)(Image.fromarray(pixels))
    torch.testing.assert_close(tensor, torch.ones(1, 10, 10))


@pytest.mark.parametrize("size", [(8, 8), (64, 48), (31, 500), (1, 1)])
def test_any_size_comes_out_square(
    size: tuple[int, int], random_image: ImageMaker
) -> None:
    transform = HaDisTestTransform(input_size=16)
    first, second = transform(random_image(*size)), transform(random_image(*size))
    assert first.shape == (3, 16, 16)
    assert torch.equal(first, second)


def test_bad_size_is_named() -> None:
    with pytest.raises(ValueError, match=r"input_size must be .* got -1"):
        HaDisTestTransform(input_size=-1)
