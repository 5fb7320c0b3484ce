"""All images of a source in one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.data import (
    DataError,
    ImageReadError,
    common_size,
    load_digits,
    load_folder,
    stack_images,
)


def write_images(folder: Path, sizes: list[tuple[int, int]]) -> None:
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (number, 2 * number, 0)).save(
            folder / f"{number:03}.png"
        )


@pytest.mark.parametrize(("num_channels", "value"), [(3, 7), (1, 10)])
def test_a_folder_becomes_an_array(
    tmp_path: Path, num_channels: int, value: int
) -> None:
    write_images(tmp_path / "images", [(6, 4)] * 20)
    source = load_folder(tmp_path / "images", num_channels=num_channels)
    assert common_size(source) == (4, 6)
    seen: list[tuple[int, int]] = []
    images = stack_images(source, 3, lambda done, total: seen.append((done, total)))
    assert images.shape == (20, 4, 6, num_channels)
    assert images[7, 0, 0, 0] == value  # red 7, or the grey of (7, 14, 0)
    assert seen[0] == (1, 20)
    assert seen[-1] == (20, 20)


def test_an_array_stays_what_it_is() -> None:
    source = load_digits()
    assert common_size(source) == (8, 8)
    assert stack_images(source) is source.images


def test_images_of_different_size_are_named(tmp_path: Path) -> None:
    write_images(tmp_path / "images", [(6, 4)] * 50 + [(6, 5)] + [(6, 4)] * 50)
    source = load_folder(tmp_path / "images")
    assert common_size(source) == (4, 6)  # one in so many can be overlooked
    with pytest.raises(DataError, match=r"'000.png' is 6 x 4 .* '050.png' is 6 x 5"):
        stack_images(source)
    write_images(tmp_path / "others", [(6, 4), (6, 5)])
    assert common_size(load_folder(tmp_path / "others")) is None


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "images", [(6, 4)] * 3)
    (tmp_path / "images" / "001.png").write_bytes(b"no image")
    with pytest.raises(ImageReadError, match=r"001\.png"):
        stack_images(load_folder(tmp_path / "images"))


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(9, 5, 7, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    np.testing.assert_array_equal(
        stack_images(load_folder(tmp_path / "images"), 4), pixels
    )
