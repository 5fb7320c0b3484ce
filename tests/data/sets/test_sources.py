from __future__ import annotations

import pickle
import socket
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits as load_sklearn_digits
from torchvision.datasets import CIFAR10

from hadis_lightly.data import (
    SOURCE_NAMES,
    DataError,
    load_cifar10,
    load_digits,
    load_source,
)

CLASSES = [f"class {number}" for number in range(10)]


@pytest.fixture
def small_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes torchvision's layout with 2 images in each of its six batches."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content: object) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, md5(data).hexdigest()]

    def write_batch(name: str, number: int) -> list[str]:
        pixels = np.full((2, 3 * 32 * 32), number, dtype=np.uint8)
        pixels[:, :1024] = 200  # red
        return write(name, {"data": pixels, "labels": [number, 9 - number]})

    train = [write_batch(f"data_batch_{i}", i) for i in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [write_batch("test_batch", 0)])
    name, checksum = write("batches.meta", {"label_names": CLASSES})
    meta = {"filename": name, "key": "label_names", "md5": checksum}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends torchvision's download to a local port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{port}/cifar.tar.gz")


def test_digits_are_scikit_learns() -> None:
    digits = load_source("digits")
    reference = load_sklearn_digits()
    assert len(digits) == 1797
    assert digits.num_channels == 1
    assert digits.class_names == tuple("0123456789")
    assert digits.targets.dtype == np.int64
    np.testing.assert_array_equal(digits.targets, reference.target)
    image, target = digits[3]
    assert (image.mode, image.size, target) == ("L", (8, 8), 3)
    pixels = np.asarray(image)
    assert digits.images.max() == 255
    np.testing.assert_allclose(pixels / 255 * 16, reference.images[3], atol=0.05)


def test_keys_are_unique_positions() -> None:
    digits = load_digits()
    assert digits.keys[0] == "000000"
    assert digits.keys[1796] == "001796"
    assert len(set(digits.keys)) == len(digits)


def test_images_are_offered_as_one_array() -> None:
    digits = load_digits()
    assert digits.images.shape == (1797, 8, 8, 1)
    assert digits.images.dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(digits[5][0]), digits.images[5, :, :, 0])


def test_cifar10_merges_train_and_test(small_cifar10: Path) -> None:
    source = load_source("cifar10", small_cifar10, download=False)
    assert len(source) == 12
    assert source.targets.tolist() == [1, 8, 2, 7, 3, 6, 4, 5, 5, 4, 0, 9]
    assert source.class_names == tuple(CLASSES)
    assert source.num_channels == 3
    assert source.protocol == (
        "CIFAR-10: train + test merged, 12 images, 32 x 32, 10 classes"
    )
    image, target = source[10]  # the first of test
    assert (image.mode, image.size, target) == ("RGB", (32, 32), 0)
    assert image.getpixel((5, 6)) == (200, 0, 0)


def test_cifar10_also_from_inside_its_folder(small_cifar10: Path) -> None:
    assert len(load_cifar10(small_cifar10 / CIFAR10.base_folder, download=False)) == 12


@pytest.mark.usefixtures("no_network")
def test_cifar10_without_data_or_network_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError) as caught:
        load_source("cifar10", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert "data=cifar10 data.path=DIR" in message
    assert "data=npz data.path=FILE" in message
    assert capsys.readouterr().out == ""
    assert socket.getdefaulttimeout() is None


def test_cifar10_without_download_stays_offline(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download is off"):
        load_source("cifar10", tmp_path / "none", download=False)


def test_cifar10_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"CIFAR-10 is not in .*file"):
        load_source("cifar10", tmp_path / "file")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("download", [True, False])
@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_damaged_file_of_cifar10_is_named(
    small_cifar10: Path, name: str, download: bool
) -> None:
    file = small_cifar10 / CIFAR10.base_folder / name
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError) as caught:
        load_cifar10(small_cifar10, download=download)
    message = str(caught.value)
    assert f"({str(file)!r} is damaged)" in message
    assert message.isprintable()


def test_folder_in_the_place_of_a_batch_is_named(small_cifar10: Path) -> None:
    file = small_cifar10 / CIFAR10.base_folder / "data_batch_1"
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"data_batch_1' is damaged"):
        load_cifar10(small_cifar10, download=False)


def test_damaged_archive_of_cifar10_is_named(tmp_path: Path) -> None:
    (tmp_path / CIFAR10.filename).write_bytes(b"half of it")
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz' is damaged"):
        load_cifar10(tmp_path, download=False)


def test_limit_draws_the_same_images_for_a_seed() -> None:
    first, second = (load_source("digits", limit=50, seed=4) for _ in range(2))
    assert first.keys == second.keys == sorted(first.keys)
    assert len(set(first.keys)) == len(first) == 50
    assert first.keys != load_source("digits", limit=50, seed=5).keys
    assert set(first.keys) < set(load_source("digits", limit=60, seed=4).keys)


def test_limit_keeps_everything_aligned() -> None:
    everything = load_digits()
    some = everything.random_subset(40)
    for index in range(40):
        position = int(some.keys[index])
        assert some[index] == everything[position]
        assert some.targets[index] == everything.targets[position]
    assert some.images.shape == (40, 8, 8, 1)
    assert some.protocol.endswith("10 classes; a random 40 of them (seed 0)")


def test_limit_beyond_the_set_keeps_it() -> None:
    assert load_source("digits", limit=5000).protocol == load_digits().protocol


@pytest.mark.parametrize("limit", [0, -3, 2.5, True])
def test_bad_limit_is_named(limit: object) -> None:
    with pytest.raises(DataError, match=f"limit must be an integer >= 1, got {limit}"):
        load_source("digits", limit=limit)


def test_unknown_source_lists_the_names() -> None:
    with pytest.raises(ValueError, match="unknown data source 'stl11'") as caught:
        load_source("stl11")
    assert all(name in str(caught.value) for name in SOURCE_NAMES)


@pytest.mark.parametrize("name", ["npz", "folder"])
def test_path_is_asked_for(name: str) -> None:
    with pytest.raises(DataError, match=f"data={name} needs a path"):
        load_source(name)


def test_needless_path_is_refused() -> None:
    with pytest.raises(DataError, match="takes no path"):
        load_source("digits", "somewhere")


def test_channels_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(DataError, match="num_channels is 3 but"):
        load_source("digits", num_channels=3)
    with pytest.raises(DataError, match="must be 1 or 3, got 4"):
        load_source("digits", num_channels=4)


def test_source_can_be_pickled() -> None:
    digits = load_digits().random_subset(2)
    assert list(pickle.loads(pickle.dumps(digits))) == list(digits)
