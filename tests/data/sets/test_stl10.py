"""STL-10 from files in the official layout, whole and damaged."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import STL10

from hadis_lightly.data import (
    BinarySource,
    DataError,
    ImageReadError,
    common_size,
    count_distinct,
    load_source,
    load_stl10,
    readable_images,
    stack_images,
)
from tests.data.public_stand_ins import STL10_NAMES, patches, write_stl10

FOLDER = STL10.base_folder


@pytest.fixture
def stl10(tmp_path: Path) -> Path:
    return write_stl10(tmp_path / "data")


def test_train_and_test_are_merged(stl10: Path) -> None:
    source = load_source("stl10", stl10, download=False)
    assert len(source) == 80 and source.num_channels == 3
    assert source.targets.dtype == np.int64
    assert source.targets.tolist() == [i % 10 for i in (*range(30), *range(50))]
    assert source.class_names == tuple(STL10_NAMES)
    assert source.description == (
        "STL-10: train + test merged, 80 images, 96 x 96, 10 classes"
    )
    assert source.keys[0] == "000000" and len(set(source.keys)) == 80
    assert source.training_only is None
    expected = patches(np.arange(50) % 10, 96, seed=50)
    for index in (0, 49):
        image, target = source[30 + index]
        assert (image.mode, image.size, target) == ("RGB", (96, 96), index % 10)
        np.testing.assert_array_equal(np.asarray(image), expected[index])
    assert len(load_stl10(stl10 / FOLDER, download=False)) == 80


def test_pixels_are_torchvisions(stl10: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    source = load_stl10(stl10, download=False, unlabelled=True)
    theirs = [item for s in ("train", "test", "unlabeled") for item in STL10(stl10, s)]
    assert len(theirs) == len(source) == 100
    for ours, their in zip(source, theirs, strict=True):
        assert ours[1] == their[1]
        np.testing.assert_array_equal(np.asarray(ours[0]), np.asarray(their[0]))


def test_unlabelled_images_are_for_training_alone(stl10: Path) -> None:
    labelled = load_source("stl10", stl10, download=False)
    source = load_source("stl10", stl10, download=False, unlabelled=True)
    assert source.description == (
        "STL-10: train + test merged, 80 images, 96 x 96, 10 classes, and 20 "
        "unlabelled ones for training alone, never scored"
    )
    assert source.keys[:80] == labelled.keys and len(set(source.keys)) == 100
    np.testing.assert_array_equal(source.targets[:80], labelled.targets)
    assert (source.targets[80:] == -1).all()
    assert source.training_only is not None
    assert source.training_only.dtype == bool
    np.testing.assert_array_equal(source.training_only, np.arange(100) >= 80)
    assert source.class_names == tuple(STL10_NAMES)


def test_subsets_keep_all_aligned(stl10: Path) -> None:
    everything = load_source("stl10", stl10, download=False, unlabelled=True)
    some = load_source("stl10", stl10, download=False, unlabelled=True, limit=30)
    again = readable_images(some)
    for source in (some, again, pickle.loads(pickle.dumps(some))):
        assert isinstance(source, BinarySource)
        assert source.training_only is not None and source.training_only.shape == (30,)
        assert 0 < source.training_only.sum() < 30
        for index, key in enumerate(source.keys):
            assert source[index] == everything[int(key)]
            assert source.training_only[index] == (int(key) >= 80)
    assert some.description.endswith("never scored; a random 30 of them (seed 0)")
    assert load_stl10(stl10, download=False).random_subset(9).training_only is None


def test_images_stay_on_the_disk(stl10: Path) -> None:
    source = load_stl10(stl10, download=False)
    assert common_size(source) == (96, 96)
    assert count_distinct(source, 80) == 80
    images = stack_images(source, num_threads=2)
    assert images.shape == (80, 96, 96, 3)
    np.testing.assert_array_equal(images[:30], patches(np.arange(30) % 10, 96, seed=30))
    assert len(pickle.dumps(source)) < 10_000
    file = stl10 / FOLDER / "test_X.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ImageReadError, match=r"test_X.bin': it ends before image 49"):
        source.read(79)
    file.unlink()
    with pytest.raises(
        ImageReadError, match=r"cannot read .*test_X.bin': No such file"
    ):
        source.read(79)


@pytest.mark.parametrize(
    ("name", "kept", "words"),
    [
        ("train_X.bin", -1, "829,439 bytes, which are not images of 27,648"),
        ("unlabeled_X.bin", 0, "is damaged: 0 bytes"),
        ("train_X.bin", 27_648, "holds 1 images, but 'train_y.bin' holds 30 labels"),
        ("test_y.bin", -1, "holds 50 images, but 'test_y.bin' holds 49 labels"),
        ("class_names.txt", 9, "must hold 10 names, got 1"),
    ],
)
def test_truncated_files_are_named(
    stl10: Path, name: str, kept: int, words: str
) -> None:
    file = stl10 / FOLDER / name
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError) as caught:
        load_stl10(stl10, unlabelled=True)  # what is there is not downloaded
    message = str(caught.value)
    assert words in message and name in message and str(stl10) in message
    assert message.isprintable()


@pytest.mark.parametrize("label", [0, 11])
def test_wrong_labels_are_named(stl10: Path, label: int) -> None:
    file = stl10 / FOLDER / "test_y.bin"
    file.write_bytes(file.read_bytes()[:-1] + bytes([label]))
    with pytest.raises(DataError) as caught:
        load_stl10(stl10, download=False)
    assert str(caught.value) == (
        f"labels in {str(file)!r} must be 1 to 10, got {label}"
    )


def test_missing_files(stl10: Path) -> None:
    (stl10 / FOLDER / "unlabeled_X.bin").unlink()
    assert len(load_stl10(stl10)) == 80  # nothing to download
    with pytest.raises(DataError, match="is off") as caught:
        load_stl10(stl10, download=False, unlabelled=True)
    assert "unlabeled_X.bin" in str(caught.value)
    assert "data=stl10 data.path=DIR" in str(caught.value)
    (stl10 / FOLDER / "class_names.txt").unlink()
    assert load_stl10(stl10, download=False).class_names is None
