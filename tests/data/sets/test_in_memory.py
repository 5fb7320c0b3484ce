"""Images in memory and in data sets of somebody's own, as a source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hadis_lightly.data import (
    ArraySource,
    DatasetSource,
    ImageReadError,
    load_digits,
    source_in_memory,
)

COLOUR = np.random.default_rng(0).integers(256, size=(4, 9, 7, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def pixels_of(source: Any) -> list[Any]:
    return [np.asarray(source.read(i)) for i in range(len(source))]


@pytest.mark.parametrize(
    "images",
    [
        COLOUR,
        torch.from_numpy(COLOUR).permute(0, 3, 1, 2),
        list(COLOUR),
        [Image.fromarray(pixels) for pixels in COLOUR],
        [(Image.fromarray(pixels), 3) for pixels in COLOUR],
        [{"label": 3, "image": Image.fromarray(pixels)} for pixels in COLOUR],
        torch.utils.data.TensorDataset(torch.from_numpy(COLOUR).permute(0, 3, 1, 2)),
        np.concatenate([COLOUR, np.full_like(GREY[..., None], 255)], axis=3),
    ],
    ids=["array", "tensor", "arrays", "PIL", "pairs", "rows", "data set", "RGBA"],
)
def test_colour_images_of_every_kind(images: Any) -> None:
    source = source_in_memory(images)
    assert len(source) == 4 and source.num_channels == 3
    assert (source.targets == -1).all() and source.keys[3] == "000003"
    np.testing.assert_array_equal(pixels_of(source), COLOUR)


def test_grey_images() -> None:
    for images in (GREY, GREY[..., None], torch.from_numpy(GREY)):
        source = source_in_memory(images)
        assert isinstance(source, ArraySource) and source.num_channels == 1
        np.testing.assert_array_equal(pixels_of(source), GREY)
    images = [Image.fromarray(pixels) for pixels in GREY]
    assert pixels_of(source_in_memory(images))[0].shape == (9, 7, 3)  # as of files
    np.testing.assert_array_equal(pixels_of(source_in_memory(images, 1)), GREY)
    np.testing.assert_array_equal(
        pixels_of(source_in_memory(GREY, 3)), np.stack([GREY] * 3, axis=3)
    )


def test_large_images_are_reduced_and_a_subset_keeps_its_images() -> None:
    images = [Image.new("RGB", (40 + i, 20), (i, 0, 0)) for i in range(3)]
    source = source_in_memory(images)
    assert isinstance(source, DatasetSource)
    object.__setattr__(source, "min_side", 10)
    part = source.subset(np.array([2, 0]), "two")
    assert [image.size for image in map(part.read, (0, 1))] == [(21, 10), (20, 10)]
    assert part.read(0).getpixel((0, 0)) == (2, 0, 0) and part.keys[0] == "000002"


def test_a_source_stays_as_it_is() -> None:
    digits = load_digits()
    assert source_in_memory(digits) is digits
    with pytest.raises(ValueError, match=r"num_channels is 3, .*'digits' have 1"):
        source_in_memory(digits, 3)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (GREY / 255, TypeError, r"must be uint8 \(0 to 255\), got float64"),
        (GREY[0], ValueError, r"must have shape \(n, h, w\).*got \(9, 7\)"),
        (COLOUR[..., :2], ValueError, r"c 1, 3 or 4, got \(4, 9, 7, 2\)"),
        ([], ValueError, "got none"),
        (iter(COLOUR), TypeError, r"must be a path, .*, got .*iterator"),
        (7, TypeError, "got int"),
    ],
)
def test_what_is_no_images(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        source_in_memory(images)


def test_a_wrong_image_is_named() -> None:
    floats = torch.rand(3, 9, 7)
    source = source_in_memory([COLOUR[0], floats, "a.jpg", Image.new("F", (3, 3))])
    source.read(0)
    with pytest.raises(TypeError, match=r"image 1: an array must be uint8 .*float32"):
        source.read(1)
    with pytest.raises(TypeError, match=r"image 2: must be a PIL image, .* got str"):
        source.read(2)
    with pytest.raises(ImageReadError, match="cannot read image 3: its pixels are fl"):
        source.read(3)
