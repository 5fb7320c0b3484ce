"""The plain transform, for single images and batches, and the normalisation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from lightly.transforms.torchvision_v2_compatibility import torchvision_transforms as T
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from hadis_lightly.settings import ViewSettings
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


@pytest.mark.parametrize("size", [(90, 9), (10, 101), (9, 400), (2, 300)])
def test_of_long_images_the_middle_is_as_if_the_whole_had_been_scaled(
    size: tuple[int, int], random_image: ImageMaker
) -> None:
    image = random_image(*size)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for side in (16, 5):
        whole = T.Compose([T.Resize(size=side), T.CenterCrop(size=side)])(image)
        expected = ToNormalizedTensor(None)(whole)
        made = HaDisTestTransform(side, None)(image)
        assert (made - expected).abs().max() <= 1 / 255 + 1e-6
        batch = BatchedTestTransform(side, None)(pixels.unsqueeze(0))
        torch.testing.assert_close(batch[0], made)


@pytest.mark.parametrize(
    ("resized", "interpolation"), [(256, "bilinear"), (235, "bicubic")]
)
def test_crop_and_interpolation_of_published_weights(
    resized: int, interpolation: str, random_image: ImageMaker
) -> None:
    """As torchvision's and timm's own transforms: 224 / 0.95 is 235.8."""
    image, crop = random_image(90, 60), 0.875 if resized == 256 else 0.95
    theirs = ImageClassification(
        crop_size=224,
        resize_size=resized,
        interpolation=InterpolationMode(interpolation),
    )
    options = {"crop": crop, "interpolation": interpolation}
    made = HaDisTestTransform(224, **options)(image)
    torch.testing.assert_close(made, theirs(image), rtol=0, atol=1e-5)
    settings = ViewSettings(
        224, plain_crop=crop, plain_interpolation=interpolation, **IMAGENET_NORMALIZE
    )
    batch = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0)
    made = BatchedTestTransform.from_settings(settings)(batch)[0]
    # A few levels of 255 apart, since both round after each direction.
    assert (made - theirs(image)).abs().max() <= 3 / 255 / 0.224
    with pytest.raises(ValueError, match=r"^crop must be .* got 0"):
        HaDisTestTransform(crop=0.0)
    with pytest.raises(ValueError, match=r"^interpolation must be .* got 'box'"):
        BatchedTestTransform(interpolation="box")


def test_memory_is_bounded_however_long_an_image_is() -> None:
    """Scaled as a whole, 2 x 60,000 pixels would take 4.5 GB."""
    code = """
import resource, torch
from PIL import Image
from hadis_lightly.transforms import (
    BatchedTestTransform, HaDisCropTransform, HaDisTestTransform, HaDisTransform
)
long = torch.zeros(1, 3, 2, 60_000, dtype=torch.uint8)
HaDisTestTransform(8)(Image.new("RGB", (9, 9)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for size in [(60_000, 2), (2, 60_000)]:
    image = Image.new("RGB", size)
    for kind in (HaDisTestTransform, HaDisCropTransform, HaDisTransform):
        kind(input_size=224)(image)
for images in (long, long.mT):
    BatchedTestTransform(224)(images)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(made.stdout) * unit < 300e6


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
