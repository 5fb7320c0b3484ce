"""Crops in worker processes, and the rest of the views on the device."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from scipy import stats

from hadis_lightly.transforms import (
    BatchedTestTransform,
    BatchedViews,
    HaDisCropTransform,
    HaDisTestTransform,
    HaDisTransform,
)

PLAIN = {"cj_prob": 0.0, "random_gray_scale": 0.0, "hf_prob": 0.0, "normalize": None}


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """An image whose columns and rows can be told apart."""
    rows = Image.linear_gradient("L").resize((width, height))
    columns = rows.rotate(90).resize((width, height))
    if mode == "L":
        return rows
    return Image.merge("RGB", [rows, columns, rows])


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_crops_are_uint8_and_differ(mode: str, channels: int) -> None:
    torch.manual_seed(0)
    crops = HaDisCropTransform(16)(gradient(40, 30, mode))
    assert crops.shape == (2, channels, 16, 16)
    assert crops.dtype == torch.uint8
    assert not torch.equal(crops[0], crops[1])
    assert HaDisCropTransform(16, num_views=3)(gradient(40, 30)).shape[0] == 3


def test_crops_become_views_without_another_crop() -> None:
    crops = torch.randint(256, (5, 2, 3, 16, 16), dtype=torch.uint8)
    views = BatchedViews(16, **PLAIN)(crops)
    for number, view in enumerate(views):
        torch.testing.assert_close(
            view, crops[:, number].float() / 255, atol=1e-6, rtol=0
        )


def test_crops_are_jittered_each_its_own_way() -> None:
    crops = torch.randint(256, (1, 2, 3, 16, 16), dtype=torch.uint8).expand(
        6, -1, -1, -1, -1
    )
    generator = torch.Generator().manual_seed(0)
    x0, _ = BatchedViews(16, cj_prob=1.0, generator=generator)(crops)
    assert len({float(view.mean()) for view in x0}) == 6


def test_together_they_have_the_law_of_the_transform_of_single_images() -> None:
    torch.manual_seed(0)
    image = gradient(50, 30)
    crop, views = HaDisCropTransform(12), BatchedViews(12, **PLAIN)
    crops = torch.stack([crop(image) for _ in range(300)])
    batched = views(crops)[0]
    single = torch.stack([HaDisTransform(12, **PLAIN)(image)[0] for _ in range(300)])
    for channel in (0, 1):
        means = (x[:, channel].mean(dim=(1, 2)).numpy() for x in (batched, single))
        assert stats.ks_2samp(*means).pvalue > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": 0}, "input_size must be an integer >= 1, got 0"),
        ({"min_scale": 0.0}, r"min_scale must be in \(0, 1\], got 0.0"),
        ({"num_views": 0}, "num_views must be an integer >= 1, got 0"),
    ],
)
def test_crop_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HaDisCropTransform(**options)


@pytest.mark.parametrize("size", [(32, 32), (16, 16), (48, 40), (20, 33), (9, 9)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_clean_transform_is_that_of_single_images(
    size: tuple[int, int], mode: str
) -> None:
    channels = 3 if mode == "RGB" else 1
    normalize = {"mean": [0.5] * channels, "std": [0.25] * channels}
    image = gradient(*size, mode)
    expected = HaDisTestTransform(16, normalize)(image)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    batch = pixels.reshape(1, size[1], size[0], channels).permute(0, 3, 1, 2)
    made = BatchedTestTransform(16, normalize)(batch)
    # One level of 255 apart at most, since both round.
    assert (made[0] - expected).abs().max() <= 1 / 255 / 0.25 + 1e-5


def test_clean_transform_errors() -> None:
    with pytest.raises(TypeError, match="uint8"):
        BatchedTestTransform(8)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"3 channel.* but the images have 1"):
        BatchedTestTransform(8)(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="input_size"):
        BatchedTestTransform(0)
    with pytest.raises(ValueError, match="std"):
        BatchedTestTransform(8, {"mean": [0.0], "std": [0.0]})
    grey = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert BatchedTestTransform(8, normalize=None)(grey).unique().tolist() == [1.0]
