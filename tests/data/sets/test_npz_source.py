from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hadis_lightly.data import DataError, load_source

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, size=(5, 6, 7, 3), dtype=np.uint8)
LABELS = np.array([0, 2, 1, -1, 2])


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return path


def test_colour_images_with_labels_and_names(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        images=COLOUR,
        labels=LABELS.astype(np.int8),
        class_names=np.array(["Kätzchen", "dog", "bird"]),
        is_train=np.ones(5, dtype=bool),
    )
    source = load_source("npz", path)
    assert len(source) == 5
    assert source.class_names == ("Kätzchen", "dog", "bird")
    assert source.targets.dtype == np.int64
    assert source.targets.tolist() == LABELS.tolist()
    assert source.keys == ["000000", "000001", "000002", "000003", "000004"]
    assert source.protocol == (
        "set.npz: 5 images, 6 x 7, 3 classes, 1 image without a label"
    )
    image, target = source[1]
    assert (image.mode, image.size, target) == ("RGB", (7, 6), 2)
    np.testing.assert_array_equal(np.asarray(image), COLOUR[1])
    np.testing.assert_array_equal(source.images, COLOUR)


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 1)])
def test_grey_images_without_labels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    grey = COLOUR[..., 0].reshape(shape)
    source = load_source("npz", save(tmp_path, images=grey))
    assert source.num_channels == 1
    assert source.class_names is None
    assert source.targets.tolist() == [-1] * 5
    assert source.images.shape == (5, 6, 7, 1)
    image, target = source[4]
    assert (image.mode, image.size, target) == ("L", (7, 6), -1)
    np.testing.assert_array_equal(np.asarray(image), COLOUR[4, :, :, 0])


def test_compressed_bytes_names_and_column_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(
        path, images=COLOUR, labels=LABELS[:, None], class_names=np.array([b"a"] * 3)
    )
    source = load_source("npz", str(path), limit=3)
    assert source.class_names == ("a", "a", "a")
    assert source.targets.shape == (3,)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": COLOUR}, r"no array 'images' in .*holds \['pictures'\]"),
        ({"images": COLOUR / 255}, "must be uint8 .* got float64"),
        ({"images": COLOUR[0, 0]}, r"must have shape .* got \(7, 3\)"),
        ({"images": COLOUR.transpose(0, 3, 1, 2)}, r"got \(5, 3, 6, 7\)"),
        ({"images": COLOUR[:0]}, r"got \(0, 6, 7, 3\)"),
        ({"images": COLOUR, "labels": LABELS[:4]}, r"shape \(5,\).* got \(4,\)"),
        ({"images": COLOUR, "labels": LABELS * 1.0}, "must be integers, got float64"),
        ({"images": COLOUR, "labels": LABELS - 1}, "or -1 where unknown, got -2"),
        (
            {"images": COLOUR, "labels": LABELS, "class_names": np.array(["a", "b"])},
            "go up to 2 but there are only 2 'class_names'",
        ),
        (
            {"images": COLOUR, "class_names": np.arange(3)},
            "'class_names' .* must be a list of strings",
        ),
        (
            {"images": COLOUR, "class_names": np.array(["a", 1], dtype=object)},
            "'class_names' in .* holds Python objects",
        ),
    ],
)
def test_bad_content_is_named_in_one_line(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_source("npz", path)
    assert "\n" not in str(caught.value)
    assert "set.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_file_that_is_no_npz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.npz' is not an npz file"):
        load_source("npz", path)


def test_single_array_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", COLOUR)
    with pytest.raises(DataError, match="is one array, not an npz"):
        load_source("npz", tmp_path / "set.npy")


def test_damaged_array_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, images=COLOUR)
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"'images' in .* is damaged"):
        load_source("npz", path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz' does not exist"):
        load_source("npz", tmp_path / "none.npz")
    with pytest.raises(DataError, match="is a folder"):
        load_source("npz", tmp_path)
