"""ImageNet-10 and ImageNet-Dogs out of folders that hold more, or less."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hadis_lightly.data import (
    DataError,
    FolderSource,
    load_source,
    readable_images,
)
from tests.data.public_stand_ins import write_imagenet

# The lists of the paper.
TEN = [
    "n02056570", "n02085936", "n02128757", "n02690373", "n02692877",
    "n03095699", "n04254680", "n04285008", "n04467665", "n07747607",
]  # fmt: skip
DOGS = [
    "n02085936", "n02086646", "n02088238", "n02091467", "n02097130",
    "n02099601", "n02101388", "n02101556", "n02102177", "n02105056",
    "n02105412", "n02105855", "n02107142", "n02110958", "n02112137",
]  # fmt: skip
OTHERS = ["n01440764", "n15075141"]
SETS = [("imagenet10", "ImageNet-10", TEN), ("imagenet_dogs", "ImageNet-Dogs", DOGS)]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both subsets, and some more, in splits."""
    root = tmp_path_factory.mktemp("imagenet")
    write_imagenet(root / "train", sorted({*TEN, *DOGS, *OTHERS}), count=3)
    write_imagenet(root / "val", sorted({*TEN, *DOGS}), count=1)
    return root


@pytest.mark.parametrize(("name", "title", "ids"), SETS)
def test_classes_are_picked_from_train(
    imagenet: Path, name: str, title: str, ids: list[str]
) -> None:
    source = load_source(name, imagenet)
    assert isinstance(source, FolderSource) and source.name == name
    assert source.targets.tolist() == [k for k in range(len(ids)) for _ in range(3)]
    assert source.keys == [f"train/{w}/{w}_{i}.JPEG" for w in ids for i in range(3)]
    assert source.class_names is not None
    assert [text.split()[0] for text in source.class_names] == ids
    assert "n02085936 Maltese dog" in source.class_names
    assert source.description == (
        f"{title}: train, {3 * len(ids)} images of various sizes, {len(ids)} classes"
    )
    image, target = source[5]
    assert (image.mode, target) == ("RGB", 1) and source.left_out == ()
    inside = load_source(name, imagenet / "train")
    assert inside.keys == [key.removeprefix("train/") for key in source.keys]
    np.testing.assert_array_equal(inside.targets, source.targets)
    assert load_source(name, imagenet, num_channels=1)[0][0].mode == "L"


def test_all_missing_classes_are_named(imagenet: Path, tmp_path: Path) -> None:
    root = tmp_path / "part"
    shutil.copytree(imagenet / "train", root)
    for folder in TEN[2:5]:
        shutil.rmtree(root / folder)
    with pytest.raises(DataError) as caught:
        load_source("imagenet10", root)
    message = str(caught.value)
    assert "lacks 3 of the 10 class folders of ImageNet-10" in message
    for folder in TEN:
        assert (f"{folder} (" in message) == (folder in TEN[2:5])
    assert str(root) in message and "data=imagenet10 data.path=DIR" in message
    assert message.isprintable()
    assert len(load_source("imagenet_dogs", root)) == 45
    (root / DOGS[3]).rename(root / "other")
    (root / DOGS[3]).mkdir()
    (root / DOGS[3] / "notes.txt").write_text("no image")
    with pytest.raises(
        DataError, match=rf"no images in class folders.*{DOGS[3]} \(Nor"
    ):
        load_source("imagenet_dogs", root)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data=imagenet10 needs a path"):
        load_source("imagenet10")
    with pytest.raises(DataError, match=r"none' does not exist"):
        load_source("imagenet_dogs", tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"file' is not a folder"):
        load_source("imagenet10", tmp_path / "file")
    with pytest.raises(DataError, match="lacks 15 of the 15"):
        load_source("imagenet_dogs", tmp_path)


def test_broken_files_and_links(imagenet: Path, tmp_path: Path) -> None:
    root = tmp_path / "imagenet"
    shutil.copytree(imagenet / "train", root / "train")
    broken = root / "train" / TEN[1] / "broken.JPEG"
    broken.write_bytes(b"\xff\xd8\xff and no more")
    (root / "train" / TEN[2] / "outside.JPEG").symlink_to(imagenet / "train")
    # A class folder may be a link itself, to wherever the images are.
    shutil.rmtree(root / "train" / TEN[0])
    (root / "train" / TEN[0]).symlink_to(imagenet / "train" / TEN[0])
    source = load_source("imagenet10", root)
    assert [problem.key for problem in getattr(source, "left_out", ())] == [
        f"train/{TEN[2]}/outside.JPEG"
    ]
    assert source.description == (
        "ImageNet-10: train, 31 images of various sizes, 10 classes; 1 entry left out"
    )
    with pytest.raises(DataError, match=rf"1 of 31 images.*'train/{TEN[1]}/broken"):
        readable_images(source)
    found = readable_images(source, on_error="skip")
    assert isinstance(found, FolderSource)
    assert len(found.left_out) == 2 and len(found) == 30
    assert found.targets.tolist() == [k for k in range(10) for _ in range(3)]
    assert found.description.endswith("; without 1 that cannot be read: 30 images")
