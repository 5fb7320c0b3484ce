"""Nothing outside the folder is read, and every walk through it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePosixPath

import pytest

from hadis_lightly.data import DataError, FolderSource, ImageReadError, load_folder
from tests.data.image_files import SAMPLES

OUTSIDE = "link to outside the folder"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs links and any name")


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SAMPLES["png"])
    return path


def link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def left_out(source: FolderSource) -> dict[str, str]:
    return dict(source.left_out)


def test_links_to_outside_are_listed_and_not_followed(tmp_path: Path) -> None:
    other = put(tmp_path / "other" / "secret.png").parent
    root = put(tmp_path / "root" / "cat" / "a.png").parents[1]
    link(root / "cat" / "file.png", other / "secret.png")
    link(root / "cat" / "relative.png", "../../other/secret.png")
    link(root / "dog", other)
    link(root / "up", "..")
    link(root / "gone.png", tmp_path / "nowhere.png")
    link(root / "first.png", root / "second.png")  # leads there in two steps
    link(root / "second.png", other / "secret.png")
    link(root / "notes.txt", other / "secret.png")  # no image by its name
    link(root / ".hidden.png", other / "secret.png")
    source = load_folder(root)
    assert source.keys == ["cat/a.png"]
    assert source.class_names == ("cat",)
    names = ("cat/file.png", "cat/relative.png", "dog", "up", "gone.png")
    expected = dict.fromkeys((*names, "first.png", "second.png"), OUTSIDE)
    assert left_out(source) == expected
    assert list(left_out(source)) == sorted(expected)
    assert source.description == (
        "folder root: 1 images, 1 class; 7 entries left out; "
        "1 other file not read: 1 .txt"
    )


def test_a_folder_beside_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    put(tmp_path / "root2" / "b.png")
    root = put(tmp_path / "root" / "a.png").parent
    link(root / "b.png", tmp_path / "root2" / "b.png")
    assert left_out(load_folder(root)) == {"b.png": OUTSIDE}


def test_links_within_the_folder_are_images_of_their_own(tmp_path: Path) -> None:
    put(tmp_path / ".store" / "cats" / "1.png")
    put(tmp_path / "dog" / "a.png")
    link(tmp_path / "dog" / "b.png", "a.png")
    link(tmp_path / "cat", tmp_path / ".store" / "cats")
    source = load_folder(tmp_path)
    assert source.keys == ["cat/1.png", "dog/a.png", "dog/b.png"]
    assert source.left_out == ()
    assert source[0][0] == source[1][0] == source[2][0]


@pytest.mark.parametrize("steps", [1, 2])
def test_the_root_may_be_a_link(tmp_path: Path, steps: int) -> None:
    put(tmp_path / "real" / "cat" / "a.png")
    link(tmp_path / "real" / "cat" / "b.png", "a.png")
    for step in range(steps):
        link(tmp_path / f"root{step}", f"root{step - 1}" if step else "real")
    source = load_folder(tmp_path / f"root{steps - 1}")
    assert source.keys == ["cat/a.png", "cat/b.png"]
    assert source.left_out == ()
    assert source.description.startswith("folder real: 2 images")


def test_loops_end_and_are_listed(tmp_path: Path) -> None:
    put(tmp_path / "dog" / "a.png")
    link(tmp_path / "dog" / "again", "..")
    link(tmp_path / "dog" / "self", ".")
    link(tmp_path / "one.png", "two.png")
    link(tmp_path / "two.png", "one.png")
    link(tmp_path / "round", "round")
    source = load_folder(tmp_path)
    assert source.keys == ["dog/a.png", "one.png", "two.png"]
    loop = "link back to a folder that it lies in"
    assert left_out(source) == {
        "dog/again": loop,
        "dog/self": loop,
        "round": "link that leads nowhere",
    }
    with pytest.raises(ImageReadError, match=r"one\.png.*Too many levels"):
        source.read(1)


def test_folders_linked_with_each_other_do_not_multiply(tmp_path: Path) -> None:
    names = [f"f{number:02}" for number in range(12)]
    for name in names:
        put(tmp_path / name / "a.png")
        for other in names:
            if other != name:
                link(tmp_path / name / other, f"../{other}")
    start = time.perf_counter()
    source = load_folder(tmp_path)
    assert time.perf_counter() - start < 20  # 12! ways through them would take years
    assert len(source) == 12 + 12 * 11
    assert len(set(source.keys)) == len(source)
    reasons = set(left_out(source).values())
    assert reasons == {
        "link back to a folder that it lies in",
        "link to a folder, within a linked folder",
    }


def test_keys_stay_within_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "root" / "a" / "b.." / "c..png.png")
    link(tmp_path / "root" / "a" / "back.png", "../a/b../c..png.png")
    monkeypatch.chdir(tmp_path / "root" / "a")
    for root in ("..", "../../root", tmp_path / "root" / "a" / "..", "../."):
        source = load_folder(root)
        assert source.keys == ["a/b../c..png.png", "a/back.png"]
        assert source.description.startswith("folder root: ")
        for key in source.keys:
            assert ".." not in PurePosixPath(key).parts
            assert not PurePosixPath(key).is_absolute()


NAMES = [
    "caf\u00e9.png",  # in one code point
    "cafe\u0301.png",  # and in two
    "two\nlines.png",
    "tab\tand\x1bescape.png",
    "猫 🐈.png",
    " spaces .png",
    "-rf.png",
    "a'b\"c\\d.png",
    "x" * 251 + ".png",
]


def test_names_of_any_kind(tmp_path: Path) -> None:
    for name in NAMES:
        put(tmp_path / name)
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(raw, "wb") as file:
        file.write(SAMPLES["png"])
    source = load_folder(tmp_path)
    assert set(source.keys) == {*NAMES, r"\udcff\udcfe.png"}
    for index in range(len(source)):
        assert source[index][0].size == (17, 13)
    "\n".join(source.keys).encode("utf-8")


def test_very_long_paths_are_read_or_named(tmp_path: Path) -> None:
    put(tmp_path / "short.png")
    put(tmp_path.joinpath(*["d" * 200] * 15) / "far.png")  # more than 3,000 letters
    assert len(load_folder(tmp_path)) == 2
    here = os.getcwd()
    try:  # to where no path leads at once
        os.chdir(tmp_path.joinpath(*["d" * 200] * 15))
        for _ in range(10):
            os.mkdir("e" * 200)
            os.chdir("e" * 200)
        Path("lost.png").write_bytes(SAMPLES["png"])
    finally:
        os.chdir(here)
    with pytest.raises(
        DataError, match=r"cannot list .*: File name too long"
    ) as caught:
        load_folder(tmp_path)
    assert str(caught.value).isprintable()
    source = load_folder(tmp_path, on_error="skip")
    assert len(source) == 2
    (reason,) = left_out(source).values()
    assert reason == "cannot list the folder: File name too long"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_closed_folder_is_named_or_listed(tmp_path: Path) -> None:
    put(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir(mode=0)
    with pytest.raises(DataError, match="dog': Permission denied"):
        load_folder(tmp_path)
    source = load_folder(tmp_path, on_error="skip")
    assert left_out(source) == {"dog": "cannot list the folder: Permission denied"}


def test_a_folder_of_nothing_but_links_to_outside(tmp_path: Path) -> None:
    other = put(tmp_path / "other" / "a.png")
    link(tmp_path / "root" / "a.png", other)
    with pytest.raises(DataError, match=r"left out: 'a\.png' \(link to outside"):
        load_folder(tmp_path / "root")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_names_of_no_folder(name: str) -> None:
    with pytest.raises(DataError, match="does not exist") as caught:
        load_folder(name)
    assert str(caught.value).isprintable()


def test_on_error_is_checked(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    with pytest.raises(DataError, match="'raise' or 'skip', got 'ignore'"):
        load_folder(tmp_path, on_error="ignore")
