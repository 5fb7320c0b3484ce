from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from torchvision.datasets import ImageFolder

from hadis_lightly.data import DataError, ImageReadError, load_folder, load_source
from hadis_lightly.data.files.folder import source_of_files
from hadis_lightly.data.files.formats import (
    describe_other_files,
    image_formats,
)
from hadis_lightly.data.files.walk import FoundImages
from tests.data.image_files import write


def by_key(root: Path) -> dict[str, int]:
    source = load_source("folder", root)
    return dict(zip(source.keys, source.targets.tolist(), strict=True))


def test_class_folders(tmp_path: Path) -> None:
    write(tmp_path, "dog/b.png", "dog/a.jpg", "cat/x.png", "bird/deep/er/y.PNG")
    source = load_source("folder", tmp_path)
    assert source.class_names == ("bird", "cat", "dog")
    assert source.keys == ["bird/deep/er/y.PNG", "cat/x.png", "dog/a.jpg", "dog/b.png"]
    assert source.targets.tolist() == [0, 1, 2, 2]
    assert source.num_channels == 3
    assert source.description == f"folder {tmp_path.name}: 4 images, 3 classes"
    image, target = source[3]
    assert (image.mode, image.size, target) == ("RGB", (4, 3), 2)
    assert image.getpixel((0, 0)) == (0, 0, 0)


def test_same_targets_as_torchvision(tmp_path: Path) -> None:
    write(tmp_path, "b/10.png", "b/9.png", "a/z.png", "a/sub/y.png", "C/x.png")
    reference = ImageFolder(str(tmp_path))
    source = load_folder(tmp_path)
    assert source.class_names == tuple(reference.classes)
    paths = [source.path(index) for index in range(len(source))]
    pairs = zip(paths, source.targets.tolist(), strict=True)
    assert sorted(pairs) == sorted(reference.samples)


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    write(tmp_path, "b.png", "a.png")
    source = load_source("folder", str(tmp_path))
    assert source.class_names is None
    assert source.targets.tolist() == [-1, -1]
    assert source.keys == ["a.png", "b.png"]
    assert source.description.endswith("2 images, no labels")
    assert source[0][1] == -1


def test_loose_images_beside_class_folders_have_no_label(tmp_path: Path) -> None:
    write(tmp_path, "cat/a.png", "loose.png")
    assert by_key(tmp_path) == {"cat/a.png": 0, "loose.png": -1}


def test_splits_are_merged(tmp_path: Path) -> None:
    write(tmp_path, "train/cat/a.png", "train/dog/a.png", "Test/dog/b.png")
    assert by_key(tmp_path) == {
        "train/cat/a.png": 0,
        "train/dog/a.png": 1,
        "Test/dog/b.png": 1,
    }
    source = load_source("folder", tmp_path)
    assert source.class_names == ("cat", "dog")
    assert "(Test + train merged), 2 classes" in source.description


@pytest.mark.parametrize("other", ["val", "Validation", "testing"])
def test_splits_are_no_classes_whatever_lies_beside_them(
    tmp_path: Path, other: str
) -> None:
    write(
        tmp_path, "train/cat/a.png", f"{other}/dog/a.png", "thumbs/dog/a.png", "b.png"
    )
    source = load_folder(tmp_path)
    labels = dict(zip(source.keys, source.targets.tolist(), strict=True))
    assert source.class_names == ("cat", "dog")
    assert labels["thumbs/dog/a.png"] == labels[f"{other}/dog/a.png"] == 1
    assert labels["b.png"] == -1
    merged = " + ".join(sorted([other, "train"]))
    assert f"({merged} merged; not classes either: thumbs), " in source.description
    write(tmp_path / "flat", "train/a.png", f"{other}/b.png", "thumbs/c.png")
    assert set(by_key(tmp_path / "flat").values()) == {-1}


def test_splits_without_classes_have_no_labels(tmp_path: Path) -> None:
    write(tmp_path, "train/a.png", "val/b.png")
    assert set(by_key(tmp_path).values()) == {-1}


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    write(tmp_path, "train/a.png", "plane/b.png")
    assert by_key(tmp_path) == {"plane/b.png": 0, "train/a.png": 1}


def test_hidden_and_other_files_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, "cat/a.jpeg", "cat/.hidden.png", ".cache/b.png", "dog/c.tiff")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "labels.csv").write_text("no image")
    (tmp_path / "empty").mkdir()
    assert by_key(tmp_path) == {"cat/a.jpeg": 0, "dog/c.tiff": 1}


def test_files_that_are_no_images_are_counted_by_suffix(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.JPE", "cat/c.jpg", ".hidden.png")
    for name in ("a.txt", "cat/b.TXT", "cat/LICENSE", ".hidden.txt", "x.\ny"):
        (tmp_path / name).write_text("no image")
    expected = "4 other files not read: 2 .txt, 1 without a suffix, 1 .\\ny"
    source = load_folder(tmp_path)
    assert source.description.startswith(f"folder {tmp_path.name}: 3 images, ")
    assert source.description.endswith(f"; {expected}")
    many = Counter({f".x{number}": 1 for number in range(12)})
    assert describe_other_files(many).endswith(", 1 .x4, 1 .x5, 4 more")


def test_packages_that_would_read_more_are_named(tmp_path: Path) -> None:
    counts = Counter({".heic": 7, ".heif": 1, ".jxl": 1, ".txt": 3})
    place = {"root": str(tmp_path), "title": "some"}
    found = FoundImages(["a.png", "b.png"], [], counts)
    source = source_of_files(found, ["", ""], num_channels=3, **place)
    assert source.random_subset(1).warnings == (
        "8 files are .heic or .heif and were not read: pip install pillow-heif",
        "1 file is .jxl and was not read: pip install pillow-jxl-plugin",
    )


@pytest.mark.parametrize(
    ("suffix", "package"),
    [("heic", "pillow_heif"), ("hif", "pillow_heif"), ("jxl", "pillow_jxl")],
)
def test_photos_of_an_extra_are_read_or_the_extra_is_named(
    tmp_path: Path, suffix: str, package: str
) -> None:
    write(tmp_path, "a.png")
    photo = tmp_path / f"b.{suffix.upper()}"
    if find_spec(package) is None:
        photo.write_bytes(b"a photo")
        name = "pillow-heif" if package == "pillow_heif" else "pillow-jxl-plugin"
        line = f"1 file is .{suffix} and was not read: pip install {name}"
        assert load_folder(tmp_path).warnings == (line,)
        (tmp_path / "a.png").unlink()
        with pytest.raises(DataError, match=f"no images .*; {line}"):
            load_folder(tmp_path)
        return
    image_formats()  # registers them with Pillow
    Image.new("RGB", (64, 48), (200, 100, 50)).save(photo.with_suffix(f".{suffix}"))
    source = load_folder(tmp_path)
    assert len(source) == 2
    image, _ = source[1]
    assert image.size == (64, 48)
    pixel = np.array(image.getpixel((30, 20)))
    assert np.abs(pixel - [200, 100, 50]).max() <= 4


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read(tmp_path: Path) -> None:
    write(tmp_path, "a.AVIF")
    assert load_folder(tmp_path)[0][0].size == (4, 3)


def test_names_in_any_script(tmp_path: Path) -> None:
    write(tmp_path, "猫/写真.png", "Zebra/a b.png", "ähnlich/ü.png")
    source = load_source("folder", tmp_path)
    assert source.class_names == ("Zebra", "ähnlich", "猫")
    assert source[2][0].size == (4, 3)


def test_order_does_not_depend_on_how_accents_are_spelt(tmp_path: Path) -> None:
    composed, decomposed = "\u00e4.png", "a\u0308.png"
    write(tmp_path / "one", "b.png", composed, "z.png")
    write(tmp_path / "two", "b.png", decomposed, "z.png")
    assert load_source("folder", tmp_path / "one").keys.index(composed) == 2
    assert load_source("folder", tmp_path / "two").keys.index(decomposed) == 2


def test_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    source = load_source("folder", tmp_path)
    assert source.keys == ["a.png", "broken.png", "lost.png"]
    for index in (1, 2):
        with pytest.raises(ImageReadError, match=source.keys[index]):
            source.read(index)


def test_grey_on_request(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    source = load_source("folder", tmp_path, num_channels=1)
    assert (source.num_channels, source[0][0].mode) == (1, "L")


def test_limit_keeps_the_classes(tmp_path: Path) -> None:
    write(tmp_path, *(f"{name}/{i}.png" for name in "abc" for i in range(4)))
    source = load_folder(tmp_path).random_subset(2)
    assert len(source) == len(source.files) == len(source.keys) == 2
    assert source.class_names == ("a", "b", "c")
    assert source.files == source.keys


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", r"none' does not exist"),
        ("file.doc", r"file\.doc' is neither an image, nor a list of paths"),
        ("empty", r"no images in data folder '.*empty'"),
    ],
)
def test_nothing_to_read_is_one_clear_line(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "file.doc").write_text("x")
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    (tmp_path / "empty" / "cat" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=message) as caught:
        load_source("folder", tmp_path / name)
    assert "\n" not in str(caught.value)
