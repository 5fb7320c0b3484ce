"""Small copies of public data sets, in the layout of the official files."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: The 20 superclasses of CIFAR-100 in the order of their numbers, each with its five
#: classes: https://www.cs.toronto.edu/~kriz/cifar.html. Classes are numbered by name.
SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
FINE_NAMES = sorted(" ".join(SUPERCLASSES.values()).split())
COARSE_OF_FINE = {
    fine: list(SUPERCLASSES).index(coarse)
    for coarse, names in SUPERCLASSES.items()
    for fine in names.split()
}
STL10_NAMES = [
    "airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck",
]  # fmt: skip


def patches(classes: NDArray[np.int64], side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noisy images ``(n, side, side, 3)``, each class in a colour of its own."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(9).integers(0, 200, size=(100, 1, 1, 3))
    noise = rng.integers(0, 56, size=(len(classes), side, side, 3))
    return (colours[classes] + noise).astype(np.uint8)


def write_cifar100(
    root: Path,
    train: Sequence[int] = range(100),
    test: Sequence[int] = range(100),
    protocol: int = 2,
) -> Path:
    """Writes ``cifar-100-python`` with images of the given fine classes."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, fine in (("train", train), ("test", test)):
        coarse = [COARSE_OF_FINE[FINE_NAMES[number]] for number in fine]
        images = patches(np.array(coarse, dtype=np.int64), 32, seed=len(name))
        content = {
            b"filenames": [f"image_{i}.png".encode() for i in range(len(fine))],
            b"batch_label": f"{name} batch 1 of 1".encode(),
            b"fine_labels": list(fine),
            b"coarse_labels": coarse,
            b"data": images.transpose(0, 3, 1, 2).reshape(len(fine), -1),
        }
        dump(folder / name, content, protocol)
    meta = {
        b"fine_label_names": [name.encode() for name in FINE_NAMES],
        b"coarse_label_names": [name.encode() for name in SUPERCLASSES],
    }
    dump(folder / "meta", meta, protocol)
    return root


def dump(path: Path, content: object, protocol: int = 2) -> None:
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=protocol)


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
