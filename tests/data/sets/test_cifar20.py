"""CIFAR-20 from files in the official layout, whole and damaged."""

from __future__ import annotations

import functools
import os
import pickle
import socket
import tarfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR100

from hadis_lightly.data import DataError, load_cifar20, load_source
from tests.data.public_stand_ins import (
    COARSE_OF_FINE,
    FINE_NAMES,
    SUPERCLASSES,
    dump,
    patches,
    write_cifar100,
)

FOLDER = CIFAR100.base_folder


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    """All 100 classes, in another order in each split."""
    train = np.random.default_rng(0).permutation(100).tolist()
    return write_cifar100(tmp_path / "data", train, train[::-1][:50])


def content_of(root: Path, name: str = "train") -> dict[Any, Any]:
    with (root / FOLDER / name).open("rb") as file:
        content: dict[Any, Any] = pickle.load(file, encoding="bytes")
    return content


def test_train_and_test_are_merged(cifar100: Path) -> None:
    source = load_source("cifar20", cifar100, download=False)
    train, test = content_of(cifar100), content_of(cifar100, "test")
    coarse = train[b"coarse_labels"] + test[b"coarse_labels"]
    assert len(source) == 150 and source.num_channels == 3
    assert source.targets.dtype == np.int64
    assert source.targets.tolist() == coarse
    assert source.class_names == tuple(SUPERCLASSES)
    assert source.protocol == (
        "CIFAR-100: train + test merged, 150 images, 32 x 32, 20 superclasses"
    )
    assert source.keys[0] == "000000" and len(set(source.keys)) == 150
    expected = patches(np.array(coarse[100:]), 32, seed=4)
    image, target = source[100]  # the first of test
    assert (image.mode, image.size, target) == ("RGB", (32, 32), coarse[100])
    np.testing.assert_array_equal(np.asarray(image), expected[0])
    assert source.training_only is None


def classes_of_targets(root: Path) -> dict[str, set[str]]:
    """The fine classes of each superclass, by the names that the source gives it."""
    source = load_cifar20(root, download=False)
    assert source.class_names is not None
    names = content_of(root, "meta")[b"fine_label_names"]
    fine = [n for s in ("train", "test") for n in content_of(root, s)[b"fine_labels"]]
    found = defaultdict(set)
    for number, target in zip(fine, source.targets, strict=True):
        found[source.class_names[target]].add(names[number].decode())
    return dict(found)


def test_every_class_is_in_its_superclass(cifar100: Path) -> None:
    assert len(FINE_NAMES) == len(set(FINE_NAMES)) == len(COARSE_OF_FINE) == 100
    expected = {name: set(fine.split()) for name, fine in SUPERCLASSES.items()}
    assert all(len(fine) == 5 for fine in expected.values())
    assert classes_of_targets(cifar100) == expected


@pytest.mark.skipif("HADIS_CIFAR100" not in os.environ, reason="needs HADIS_CIFAR100")
def test_superclasses_of_a_real_copy() -> None:
    root = Path(os.environ["HADIS_CIFAR100"])
    expected = {name: set(fine.split()) for name, fine in SUPERCLASSES.items()}
    assert classes_of_targets(root) == expected
    source = load_cifar20(root, download=False)
    assert source.protocol == (
        "CIFAR-100: train + test merged, 60,000 images, 32 x 32, 20 superclasses"
    )
    assert np.bincount(source.targets).tolist() == [3000] * 20
    assert source.class_names == tuple(SUPERCLASSES)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("keys", ["bytes", "texts"])
def test_as_any_python_writes_it(tmp_path: Path, protocol: int, keys: str) -> None:
    root = write_cifar100(tmp_path, range(7), range(3), protocol)
    expected = load_cifar20(root, download=False)
    if keys == "texts":
        for name in ("train", "test", "meta"):
            content = content_of(root, name)
            content = {key.decode(): value for key, value in content.items()}
            if "data" in content:
                content["coarse_labels"] = np.array(content["coarse_labels"])
                content["data"] = np.asfortranarray(content["data"])
            else:
                content["coarse_label_names"] = list(SUPERCLASSES)
            dump(root / FOLDER / name, content, protocol)
    found = load_cifar20(root / FOLDER, download=False)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.targets, expected.targets)
    assert found.class_names == expected.class_names == tuple(SUPERCLASSES)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
@pytest.mark.parametrize("kept", [0, 3, 0.5, -1])
def test_a_truncated_file_is_named(cifar100: Path, name: str, kept: float) -> None:
    file = cifar100 / FOLDER / name
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept) if kept == 0.5 else int(kept)])
    with pytest.raises(DataError) as caught:
        load_cifar20(cifar100)  # what is there is not downloaded
    assert f"{str(file)!r} is damaged" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("coarse_labels", [20] * 100, "must be 0 to 19, got 20"),
        ("coarse_labels", [-1] * 100, "must be 0 to 19, got -1"),
        ("coarse_labels", [0] * 99, "must be 100 whole numbers, one for each image"),
        ("coarse_labels", [0.5] * 100, "must be 100 whole numbers"),
        ("coarse_labels", [2**70] * 100, "must be 100 whole numbers"),
        ("coarse_labels", "abc", "must be 100 whole numbers"),
        ("coarse_labels", None, "no 'coarse_labels' in"),
        ("data", None, "no 'data' in"),
        ("data", [1, 2], "must be uint8 of shape (n, 3072)"),
        ("data", np.zeros((100, 3071), np.uint8), "must be uint8 of shape (n, 3072)"),
        ("data", np.zeros((100, 3072), np.int16), "must be uint8 of shape (n, 3072)"),
        ("data", np.zeros(3072, np.uint8), "must be uint8 of shape (n, 3072)"),
    ],
)
def test_wrong_content_is_named(
    cifar100: Path, entry: str, value: object, words: str
) -> None:
    content = content_of(cifar100)
    content[entry.encode()] = value
    if value is None:
        del content[entry.encode()]
    file = cifar100 / FOLDER / "train"
    dump(file, content)
    with pytest.raises(DataError) as caught:
        load_cifar20(cifar100, download=False)
    message = str(caught.value)
    assert words in message and str(file) in message and entry in message
    assert message.isprintable()


@pytest.mark.parametrize("names", [None, b"fish", [1, 2]])
def test_wrong_names_are_named(cifar100: Path, names: object) -> None:
    dump(cifar100 / FOLDER / "meta", {b"coarse_label_names": names})
    with pytest.raises(DataError, match=r"'coarse_label_names' in .*meta' must be a"):
        load_cifar20(cifar100, download=False)


def test_without_data_or_download(tmp_path: Path, cifar100: Path) -> None:
    with pytest.raises(DataError, match=r"CIFAR100 is not in .*is off") as e:
        load_source("cifar20", tmp_path / "none", download=False)
    assert "data=cifar20 data.path=DIR" in str(e.value)
    (cifar100 / FOLDER / "meta").unlink()
    with pytest.raises(DataError, match=r"download is off \(no .*meta'\)"):
        load_cifar20(cifar100, download=False)
    (cifar100 / FOLDER / "meta").mkdir()
    with pytest.raises(DataError, match="meta' is no file"):
        load_cifar20(cifar100, download=False)


@pytest.mark.parametrize("name", ["cifar20", "stl10"])
def test_without_network(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("no_proxy", "*")
    for dataset in ("CIFAR100", "STL10"):
        place = f"torchvision.datasets.{dataset}.url"
        monkeypatch.setattr(place, f"http://127.0.0.1:{port}/archive.tar.gz")
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        load_source(name, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert f"data={name} data.path=DIR" in str(caught.value)
    assert str(caught.value).isprintable()
    assert socket.getdefaulttimeout() is None


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive where torchvision looks for it, with the checksums that it expects."""
    made = write_cifar100(tmp_path / "made", range(4), range(2))
    checksums = {}
    for name in ("train", "test", "meta"):
        content = {key.decode(): v for key, v in content_of(made, name).items()}
        dump(made / FOLDER / name, content)  # as Python 2's texts come out there
        checksums[name] = md5((made / FOLDER / name).read_bytes()).hexdigest()
    path = tmp_path / "made" / CIFAR100.filename
    with tarfile.open(path, "w:gz") as file:
        file.add(made / FOLDER, FOLDER)
    monkeypatch.setattr(CIFAR100, "tgz_md5", md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(CIFAR100, "train_list", [["train", checksums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", checksums["test"]]])
    meta = {**CIFAR100.meta, "md5": checksums["meta"]}
    monkeypatch.setattr(CIFAR100, "meta", meta)
    monkeypatch.setenv("no_proxy", "*")
    handler = functools.partial(Quiet, directory=path.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        monkeypatch.setattr(CIFAR100, "url", url)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


def test_a_download(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(load_source("cifar20", tmp_path / "data")) == 6
    archive.unlink()
    assert len(load_source("cifar20", tmp_path / "data")) == 6
    assert capsys.readouterr().out == ""


def test_a_damaged_download_is_refused(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"could not be downloaded \(.*corrupted"):
        load_source("cifar20", tmp_path / "data")
    assert not (tmp_path / "data" / FOLDER).exists()
