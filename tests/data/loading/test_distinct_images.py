"""How many different images there are, and a key of all of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hadis_lightly.data import (
    ArraySource,
    FolderSource,
    ImageReadError,
    count_distinct,
    images_key,
    load_digits,
    load_folder,
    load_source,
)
from hadis_lightly.data.image_source import position_keys


def in_memory(images: np.ndarray) -> ArraySource:
    n = len(images)
    return ArraySource(
        name="npz",
        class_names=None,
        targets=np.full(n, -1),
        keys=position_keys(n),
        description="",
        num_channels=images.shape[3],
        images=images,
    )


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 8))
def test_counts_as_a_set_does(values: list[int], enough: int) -> None:
    images = np.zeros((len(values), 2, 3, 1), np.uint8)
    images[:, 1, 2, 0] = values
    expected = min(len(set(values)), enough)
    assert count_distinct(in_memory(images), enough) == expected
    turned = images.transpose(0, 2, 1, 3)  # not contiguous
    assert count_distinct(in_memory(turned), enough) == expected


def test_one_pixel_or_the_shape_alone_may_differ(tmp_path: Path) -> None:
    for name, size in (("a", (2, 6)), ("b", (6, 2)), ("c", (3, 4)), ("d", (2, 6))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    assert count_distinct(load_folder(tmp_path), enough=10) == 3
    image = Image.new("RGB", (2, 6))
    image.putpixel((1, 5), (0, 0, 1))
    image.save(tmp_path / "e.png")
    assert count_distinct(load_folder(tmp_path), enough=10) == 4


def test_the_same_pixels_in_two_formats_are_one_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(4, 5, 3), dtype=np.uint8)
    for suffix in ("png", "bmp", "tif"):
        Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    assert count_distinct(load_folder(tmp_path), enough=2) == 1


def test_few_images_are_read_where_they_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(150):
        Image.new("L", (3, 3), number).save(tmp_path / f"{number:03}.png")
    source = load_folder(tmp_path)
    read: list[int] = []
    whole = FolderSource.read

    def counted(self: FolderSource, index: int) -> Image.Image:
        read.append(index)
        return whole(self, index)

    monkeypatch.setattr(FolderSource, "read", counted)
    assert count_distinct(source, enough=10, num_threads=2) == 10
    assert len(read) < 30
    assert count_distinct(source, enough=1000) == 150


def test_digits_are_different() -> None:
    digits = load_digits()
    reference = len(np.unique(digits.images.reshape(len(digits), -1), axis=0))
    assert count_distinct(digits, enough=10**6) == reference
    same = replace(digits, images=np.broadcast_to(digits.images[:1], (1797, 8, 8, 1)))
    assert count_distinct(same, enough=2) == 1


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(ImageReadError, match=r"bad\.png"):
        count_distinct(load_folder(tmp_path), enough=2)


def test_the_key_of_images_is_that_of_their_pixels(tmp_path: Path) -> None:
    digits = load_digits()
    key = images_key(digits)
    assert images_key(digits.subset(np.arange(len(digits)), "all")) == key
    assert images_key(digits.subset(np.arange(len(digits))[::-1], "turned")) != key
    for number in range(2):
        digits.read(number).save(tmp_path / f"{number}.png")
    files = load_source("folder", tmp_path)
    key = images_key(files)
    assert images_key(files) == key
    os.utime(tmp_path / "1.png", ns=(1, 1))
    assert images_key(files) != key
