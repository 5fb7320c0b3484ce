"""Small copies of public data sets, in the layout of the official files."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

SUPERCLASSES = [f"superclass {number}" for number in range(20)]
STL10_NAMES = [
    "airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck",
]  # fmt: skip


def patches(classes: NDArray[np.int64], side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noisy images ``(n, side, side, 3)``, each class in a colour of its own."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(9).integers(0, 200, size=(100, 1, 1, 3))
    noise = rng.integers(0, 56, size=(len(classes), side, side, 3))
    return (colours[classes] + noise).astype(np.uint8)


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes ``cifar-10-batches-py`` with two images in each of its six batches."""
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    contents: dict[str, object] = {}
    for number, name in enumerate(names):
        pixels = np.full((2, 3 * 32 * 32), number, dtype=np.uint8)
        pixels[:, :1024] = 200  # red
        contents[name] = {"data": pixels, "labels": [number, 9 - number]}
    contents["batches.meta"] = {"label_names": [f"class {i}" for i in range(10)]}
    return _write_pickles(root, CIFAR10, contents, monkeypatch)


def write_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes ``cifar-100-python``: 20 images for training, 10 for the test."""
    contents: dict[str, object] = {
        "meta": {"coarse_label_names": SUPERCLASSES, "fine_label_names": ["fine"]}
    }
    for name, n in (("train", 20), ("test", 10)):
        coarse = np.arange(n)[::-1]
        images = patches(coarse, 32, seed=n)
        contents[name] = {
            "fine_labels": (coarse * 5).tolist(),
            "coarse_labels": coarse.tolist(),
            "data": images.transpose(0, 3, 1, 2).reshape(n, -1),
        }
    return _write_pickles(root, CIFAR100, contents, monkeypatch)


def _write_pickles(
    root: Path,
    dataset: Any,
    contents: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Writes the files of a data set, and has their checksums expected of it."""
    folder = root / dataset.base_folder
    folder.mkdir(parents=True)
    checksums = {}
    for name, content in contents.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        checksums[name] = md5(data).hexdigest()
    for files in ("train_list", "test_list"):
        expected = [[name, checksums[name]] for name, _ in getattr(dataset, files)]
        monkeypatch.setattr(dataset, files, expected)
    meta = dataset.meta | {"md5": checksums[dataset.meta["filename"]]}
    monkeypatch.setattr(dataset, "meta", meta)
    return root


def write_stl10(
    root: Path, train: int = 30, test: int = 50, unlabelled: int = 20
) -> Path:
    """Writes ``stl10_binary``: planes of columns, labels from 1."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("test", test), ("unlabeled", unlabelled)):
        classes = np.arange(count) % 10
        images = patches(classes, 96, seed=count)
        images.transpose(0, 3, 2, 1).tofile(folder / f"{name}_X.bin")
        if name != "unlabeled":
            (classes + 1).astype(np.uint8).tofile(folder / f"{name}_y.bin")
    (folder / "class_names.txt").write_text("".join(f"{n}\n" for n in STL10_NAMES))
    (folder / "fold_indices.txt").write_text("0 1 2\n" * 10)
    return root


def write_imagenet(
    root: Path, classes: Iterable[str], count: int = 4, sides: Sequence[int] = (40, 56)
) -> Path:
    """Writes a folder of JPEGs for each class, named as ImageNet's are."""
    for number, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True)
        for i, pixels in enumerate(patches(np.full(count, number), 56, seed=number)):
            width, height = sides[i % len(sides)], sides[-1]
            image = Image.fromarray(pixels[:height, :width])
            image.save(folder / f"{name}_{i}.JPEG")
    return root
