"""Images that are there twice, in the same or another form."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from hadis_lightly.data import find_duplicates, load_digits, load_folder
from hadis_lightly.data.duplicates import Duplicates

SIDE = 96


def write_crops(folder: Path, n: int = 48) -> None:
    """Different parts of two photographs."""
    folder.mkdir(exist_ok=True)
    photos = load_sample_images().images
    for i in range(n):
        y, x = 100 * (i // 12), 52 * (i % 12)
        part = photos[i % 2][y : y + SIDE, x : x + SIDE]
        Image.fromarray(part).resize((64, 64)).save(folder / f"{i:02}.png")


def groups(found: Duplicates) -> dict[str, tuple[str, str]]:
    """Copies to the first image of their group, and their kind."""
    return {
        found.keys[row]: (found.keys[first], found.kinds[row])
        for row, first in enumerate(found.first.tolist())
        if row != first
    }


def test_copies_are_found_in_every_form(tmp_path: Path) -> None:
    write_crops(tmp_path)
    assert groups(find_duplicates(load_folder(tmp_path))) == {}
    image = Image.open(tmp_path / "20.png")
    shutil.copy(tmp_path / "20.png", tmp_path / "a.png")
    image.save(tmp_path / "b.bmp")
    image.save(tmp_path / "c.jpg", quality=60)
    image.resize((40, 40)).save(tmp_path / "d.png")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "e.png")
    image.crop((1, 2, 62, 63)).resize((64, 64)).save(tmp_path / "f.png")
    image.point(lambda level: level * 0.8 + 20).save(tmp_path / "g.png")
    names = ["a.png", "b.bmp", "c.jpg", "d.png", "e.png", "f.png", "g.png"]
    kinds = ["file", "pixels", *["near"] * 5]
    found = find_duplicates(load_folder(tmp_path))
    assert groups(found) == {
        name: ("20.png", kind) for name, kind in zip(names, kinds, strict=True)
    }
    assert found.describe() == (
        "7 copies (1 with the same bytes, 1 with the same pixels, 5 nearly the same)"
    )


def test_images_that_are_all_alike_are_no_copies() -> None:
    zeros = load_digits()
    zeros = zeros.subset(np.flatnonzero(zeros.targets == 0), "zeros")
    assert groups(find_duplicates(zeros)) == {}


def test_images_of_one_colour_are_compared_pixel_by_pixel(tmp_path: Path) -> None:
    write_crops(tmp_path, 12)
    for name, level in (("x", 0), ("y", 0), ("z", 1)):
        Image.new("RGB", (64, 64), (level, 0, 0)).save(tmp_path / f"{name}.png")
    dotted = Image.new("RGB", (64, 64))
    dotted.putpixel((5, 5), (1, 1, 1))  # gone in a thumbnail
    dotted.save(tmp_path / "w.png")
    found = find_duplicates(load_folder(tmp_path))
    assert groups(found) == {"y.png": ("x.png", "file")}


def test_many_copies_of_one_file_are_one_group_and_one_image_is_none(
    tmp_path: Path,
) -> None:
    write_crops(tmp_path, 12)
    assert (
        groups(find_duplicates(load_folder(tmp_path).subset(np.array([3]), ""))) == {}
    )
    for number in range(15):
        shutil.copy(tmp_path / "03.png", tmp_path / f"x{number:02}.png")
    found = find_duplicates(load_folder(tmp_path))
    assert len(groups(found)) == found.num_copies == 15
    assert found.kept.tolist() == list(range(12))
    values = np.arange(12)
    assert found.unfold(values).tolist() == [*range(12), *[3] * 15]
