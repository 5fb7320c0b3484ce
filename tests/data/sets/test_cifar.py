"""CIFAR-10 and CIFAR-20 from files in the official layout, whole and damaged."""

from __future__ import annotations

import functools
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100

from hadis_lightly.data import DataError, load_cifar10, load_cifar20, load_source
from tests.data.public_stand_ins import (
    SUPERCLASSES,
    patches,
    write_cifar10,
    write_cifar100,
)


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_cifar10(tmp_path / "data10", monkeypatch)


@pytest.fixture
def cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_cifar100(tmp_path / "data100", monkeypatch)


def test_cifar10_merges_train_and_test(cifar10: Path) -> None:
    source = load_source("cifar10", cifar10, download=False)
    assert source.targets.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert source.targets.dtype == np.int64 and source.num_channels == 3
    assert source.class_names == tuple(f"class {number}" for number in range(10))
    assert source.description == (
        "CIFAR-10: train + test merged, 12 images, 32 x 32, 10 classes"
    )
    image, target = source[10]  # the first of test
    assert (image.mode, image.size, target) == ("RGB", (32, 32), 5)
    assert image.getpixel((5, 6)) == (200, 5, 5)
    assert len(load_cifar10(cifar10 / CIFAR10.base_folder, download=False)) == 12


def test_cifar20_has_the_superclasses(cifar100: Path) -> None:
    source = load_source("cifar20", cifar100, download=False)
    coarse = [*range(20)][::-1] + [*range(10)][::-1]
    assert source.targets.dtype == np.int64 and source.targets.tolist() == coarse
    assert source.class_names == tuple(SUPERCLASSES)
    assert source.description == (
        "CIFAR-100: train + test merged, 30 images, 32 x 32, 20 superclasses"
    )
    assert source.keys[0] == "000000" and len(set(source.keys)) == 30
    expected = patches(np.arange(10)[::-1], 32, seed=10)
    np.testing.assert_array_equal(np.asarray(source[20][0]), expected[0])
    inside = load_cifar20(cifar100 / CIFAR100.base_folder, download=False)
    np.testing.assert_array_equal(inside.targets, source.targets)


@pytest.mark.skipif("HADIS_CIFAR100" not in os.environ, reason="needs HADIS_CIFAR100")
def test_superclasses_of_a_real_copy() -> None:
    source = load_cifar20(os.environ["HADIS_CIFAR100"], download=False)
    assert np.bincount(source.targets).tolist() == [3000] * 20
    assert source.class_names is not None and source.class_names[1] == "fish"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends torchvision's downloads to a local port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("no_proxy", "*")
    for dataset in ("CIFAR10", "CIFAR100", "STL10"):
        place = f"torchvision.datasets.{dataset}.url"
        monkeypatch.setattr(place, f"http://127.0.0.1:{port}/archive.tar.gz")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["cifar10", "cifar20", "stl10"])
def test_without_data_or_network_is_one_clear_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for download, words in ((True, "could not be downloaded"), (False, "is off")):
        with pytest.raises(DataError, match=words) as caught:
            load_source(name, tmp_path, download=download)
        message = str(caught.value)
        assert str(tmp_path) in message and message.isprintable()
        assert f"data={name} data.path=DIR" in message
    assert capsys.readouterr().out == ""
    assert socket.getdefaulttimeout() is None


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def add_code(file: Path) -> None:
    file.write_bytes(b"cos\nabort\n(tR.")  # would end the process if it were run


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("damage", [cut, make_folder, add_code])
@pytest.mark.parametrize("name", ["train", "meta"])
@pytest.mark.parametrize("download", [True, False])
def test_a_damaged_file_is_named(
    cifar100: Path, name: str, damage: Callable[[Path], None], download: bool
) -> None:
    file = cifar100 / CIFAR100.base_folder / name
    damage(file)
    with pytest.raises(DataError) as caught:
        load_cifar20(cifar100, download=download)
    assert f"({str(file)!r} is damaged)" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / CIFAR10.filename).write_bytes(b"half of it")
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz' is damaged"):
        load_cifar10(tmp_path, download=False)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(cifar100: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An archive on a server of ours, with the checksum that torchvision expects."""
    path = cifar100 / CIFAR100.filename
    with tarfile.open(path, "w:gz") as file:
        file.add(cifar100 / CIFAR100.base_folder, CIFAR100.base_folder)
    monkeypatch.setattr(CIFAR100, "tgz_md5", md5(path.read_bytes()).hexdigest())
    monkeypatch.setenv("no_proxy", "*")
    handler = functools.partial(Quiet, directory=path.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        monkeypatch.setattr(CIFAR100, "url", url)
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        yield path
        server.shutdown()


def test_a_download(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(load_source("cifar20", tmp_path / "data")) == 30
    cut(archive)
    assert len(load_source("cifar20", tmp_path / "data")) == 30
    with pytest.raises(DataError, match="could not be downloaded"):
        load_source("cifar20", tmp_path / "other")
    assert capsys.readouterr().out == ""
