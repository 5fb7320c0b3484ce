"""Npz files: whole, wrong, damaged and hostile."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadis_lightly.data import ArraySource, DataError, load_npz, load_source

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(5, 6, 7, 3), dtype=np.uint8)
LABELS = np.array([0, 2, 1, -1, 2])
NAMES = np.array(["Kätzchen", "dog", "bird"])


def save(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_npz(path)
    message = str(caught.value)
    assert repr(str(path)) in message and message.isprintable()
    return message


def test_colour_images_with_labels_and_names(tmp_path: Path) -> None:
    labels = LABELS.astype(np.int8)
    others = np.ones(5, dtype=bool)
    path = save(tmp_path, images=IMAGES, labels=labels, class_names=NAMES, x=others)
    source = load_source("npz", path)
    assert isinstance(source, ArraySource)
    assert source.class_names == tuple(NAMES)
    assert source.targets.dtype == np.int64
    assert source.targets.tolist() == LABELS.tolist()
    assert source.keys == [f"00000{i}" for i in range(5)]
    assert source.description == (
        "set.npz: 5 images, 6 x 7, 3 classes, 1 image without a label"
    )
    image, target = source[1]
    assert (image.mode, image.size, target) == ("RGB", (7, 6), 2)
    np.testing.assert_array_equal(source.images, IMAGES)
    assert source.images.flags.writeable  # PyTorch warns where it is not


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 1)])
def test_grey_images_without_labels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = load_npz(save(tmp_path, images=IMAGES[..., 0].reshape(shape)))
    assert source.num_channels == 1 and source.class_names is None
    assert source.targets.tolist() == [-1] * 5
    image, target = source[4]
    assert (image.mode, image.size, target) == ("L", (7, 6), -1)
    np.testing.assert_array_equal(np.asarray(image), IMAGES[4, :, :, 0])


def test_compressed_fortran_order_foreign_bytes(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    images, labels = np.asfortranarray(IMAGES), LABELS.astype(">i2")[:, None]
    np.savez_compressed(
        path, images=images, labels=labels, class_names=np.array([b"a"] * 3)
    )
    source = load_npz(str(path))
    np.testing.assert_array_equal(source.images, IMAGES)
    assert source.images.flags.c_contiguous
    assert source.class_names == ("a", "a", "a")
    assert source.targets.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": None, "pictures": IMAGES}, r"no array 'images'.*\['pictures'\]"),
        ({"images": IMAGES / 255}, "must be uint8 .* got float64"),
        ({"images": IMAGES.astype(object)}, "'images' .* cannot be read: Object arr"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, r"got \(5, 3, 6, 7\)"),
        ({"images": IMAGES[:0]}, r"none of them 0, got \(0, 6, 7, 3\)"),
        ({"labels": LABELS[:4]}, r"shape \(5,\).* got \(4,\)"),
        ({"labels": LABELS * 1.0}, "must be integers, got float64"),
        ({"labels": LABELS - 1}, r"or -1 where unknown, got -2"),
        ({"labels": np.full(5, 2**64 - 1, np.uint64)}, r"2,147,483,647, .* 1844674"),
        ({"labels": LABELS, "class_names": NAMES[:2]}, "up to 2, .* only 2 'class_na"),
        ({"class_names": np.arange(3)}, "must be a list of strings, got int64"),
    ],
)
def test_wrong_content_is_named(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    arrays = {"images": IMAGES} | arrays
    path = save(tmp_path, **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(DataError, match=message):
        load_npz(path)
    refusal(path)


def test_what_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    assert refusal(path).endswith("does not exist")
    for content in (b"", b"not a zip", b"PK\x03\x04broken"):
        path.write_bytes(content)
        assert "is not an npz file" in refusal(path)
    np.save(tmp_path / "set.npy", IMAGES)
    assert "not an npz file of images: it is one array" in refusal(tmp_path / "set.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", b"text")
    assert "'images'" in refusal(path)
    path.unlink()
    os.mkfifo(path)  # which would block
    assert refusal(path).endswith("is no file")


@pytest.mark.parametrize("side", [10**3, 2**40, 2**31])
def test_a_shape_that_the_file_does_not_hold(tmp_path: Path, side: int) -> None:
    entry = io.BytesIO()
    shape = (side, side, 4, 1)  # as a product of int64 that of 2 ** 31 is 0
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(entry, header)
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", entry.getvalue() + IMAGES.tobytes())
    assert "'images'" in refusal(tmp_path / "set.npz")


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            source = load_npz(path)
        except DataError as error:
            assert repr(str(path)) in str(error) and str(error).isprintable()
        else:
            assert source.images.dtype == np.uint8
            assert len(source.images) == len(source.targets) == len(source.keys)
    assert caught == []


@given(data=st.data())
def test_flipped_bits(tmp_path: Path, data: st.DataObject) -> None:
    path = save(tmp_path, images=IMAGES, labels=LABELS, class_names=NAMES)
    content = bytearray(path.read_bytes())
    places = st.integers(0, len(content) - 1)
    flips = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4)
    for place, bits in data.draw(flips):
        content[place] ^= bits
    read_or_refuse(path, bytes(content))
    read_or_refuse(path, bytes(content[: data.draw(places)]))
