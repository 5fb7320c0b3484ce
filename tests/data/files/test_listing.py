"""Images by several folders, lists of paths, single files, and links that lead out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hadis_lightly.data import DataError, FolderSource, load_images, load_source
from tests.data.image_files import write


def listed(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def reds(source: FolderSource) -> list[int]:
    return [source.read(index).getpixel((0, 0))[0] for index in range(len(source))]  # type: ignore[index]


def test_several_folders_are_one_set(tmp_path: Path) -> None:
    write(tmp_path, "2023/cat/a.png", "2023/dog/a.png", "2024/dog/a.png", "2024/b.png")
    folders = [str(tmp_path / "2023"), tmp_path / "2024"]
    (tmp_path / "2023" / "notes.txt").touch()
    (tmp_path / "2024" / "film.mp4").touch()
    (tmp_path / "2024" / "run" / "settings.yaml").parent.mkdir()
    for name in ("settings.yaml", ".lock"):
        (tmp_path / "2024" / "run" / name).touch()
    source = load_images(folders)
    keys = ["2023/cat/a.png", "2023/dog/a.png", "2024/b.png", "2024/dog/a.png"]
    assert source.keys == keys and reds(source) == [0, 1, 3, 2]
    assert source.class_names == ("cat", "dog")
    assert source.targets.tolist() == [0, 1, -1, 1]
    assert source.description == (
        "2023 + 2024: 4 images, 2 classes, 1 image without a label; 1 entry left out; "
        "2 other files not read: 1 .mp4, 1 .txt"
    )


def test_keys_of_several_do_not_depend_on_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "photos/a/1.png", "photos/b/1.png")
    monkeypatch.chdir(tmp_path)
    found = load_images(["photos/a", "photos/b"])
    monkeypatch.chdir(tmp_path / "photos" / "a")
    assert found.keys == load_images([".", "../b"]).keys == ["a/1.png", "b/1.png"]
    assert found.path(0) == str(tmp_path / "photos" / "a" / "1.png")


def test_a_missing_one_of_several_is_never_skipped(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png")
    with pytest.raises(DataError, match="none' does not exist"):
        load_images([tmp_path / "a", tmp_path / "none"], on_error="skip")


def test_one_file(tmp_path: Path) -> None:
    source = load_images(write(tmp_path, "some/a.png") / "some" / "a.png")
    assert source.keys == ["a.png"] and reds(source) == [0]


def test_lines_are_relative_to_their_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "lists/b.png", "lists/sub/a, b.png", "lists/é.png", "lists/f/g.png")
    path = listed(tmp_path / "lists" / "a.txt", "sub/a, b.png\r\n\nb.png\né.png\nf\n")
    monkeypatch.chdir(tmp_path)
    for given in (path, "lists/a.txt"):
        source = load_images(given)
        assert source.keys == ["sub/a, b.png", "b.png", "é.png", "f/g.png"]
        assert reds(source) == [1, 0, 2, 3]
        assert source.class_names is None and source.name == "folder"
        assert source.description == "list a.txt: 4 images, no labels"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    write(tmp_path, "é.png")
    path = listed(tmp_path / "a.txt", "é.png\r\n".encode(encoding))
    assert load_images(path).keys == ["é.png"]


def test_images_elsewhere_have_keys_from_their_common_folder(tmp_path: Path) -> None:
    write(tmp_path, "x/1/a.png", "x/2/a.png")
    (tmp_path / "lists").mkdir()
    text = f"{tmp_path}/x/1/a.png\n../x/2/a.png\n"
    source = load_images(listed(tmp_path / "lists" / "a.txt", text))
    assert source.keys == ["1/a.png", "2/a.png"] and reds(source) == [0, 1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "Label,File\ncat,a.png\n,b.png\ndog,c.png\n"),
        ("a.csv", 'file;other;class\r\na.png;"x;y";cat\r\nb.png;;-1\r\nc.png;;dog\r\n'),
        ("a.tsv", "a.png\tcat\nb.png\t\n\nc.png\tdog\n"),
    ],
)
def test_tables_have_labels(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, "a.png", "b.png", "c.png")
    source = load_images(listed(tmp_path / name, text))
    assert source.keys == ["a.png", "b.png", "c.png"]
    assert source.class_names == ("cat", "dog")
    assert source.targets.tolist() == [0, -1, 1]


def test_a_table_of_predictions_is_a_list(tmp_path: Path) -> None:
    write(tmp_path, "a, 1.png", "b.png")
    text = 'file,cluster,confidence\n"a, 1.png",3,0.5\nb.png,1,0.5\n'
    source = load_images(listed(tmp_path / "clusters.csv", text))
    assert source.keys == ["a, 1.png", "b.png"] and source.class_names is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "a.png\n\nno.png\n", r"'line 3: no\.png' \(it does not exist\)"),
        ("a.txt", "a.png\n./a.png\n", r"'line 2: .*already\); data\.on_error=skip"),
        ("a.txt", "\n \n", "no images: list a.txt names no file"),
        ("a.csv", "", "names no file"),
        (
            "a.csv",
            "a.png,cat\nb.png;dog\n",
            "line 2 has 1 .*line 1 has 2.*mixed",
        ),
        ("a.csv", "a.png,cat;1\n", "the first line has several separators"),
        ("a.csv", "name,kind\na.png,cat\n", "'line 1: name'"),
        ("a.txt", "empty\n", "'line 1: empty' .no images in data folder"),
        ("a.txt", b"\xff\xfe\n", "cannot read list"),
    ],
)
def test_each_mistake_is_one_clear_line(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        load_images(listed(tmp_path / name, text))
    assert "\n" not in str(caught.value)


def test_skip_goes_on_without_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "f/b.png")
    path = listed(tmp_path / "a.txt", "no.png\nf/b.png\nf\na.png\n")
    source = load_images(path, on_error="skip")
    assert source.keys == ["f/b.png", "a.png"]
    places = [problem.key for problem in source.left_out]
    assert places == ["line 1: no.png", "line 3: f"]
    assert source.description.endswith("2 images, no labels; 2 entries left out")


def test_no_file_is_read_twice_from_overlapping_folders(tmp_path: Path) -> None:
    write(tmp_path, "f/a.png", "f/g/b.png")
    with pytest.raises(DataError, match="already"):
        load_images([tmp_path / "f" / "g", tmp_path / "f"])
    source = load_images([tmp_path / "f" / "g", tmp_path / "f"], on_error="skip")
    assert source.keys == ["f/g/b.png", "f/a.png"]


@pytest.mark.skipif(os.name == "nt", reason="names are text on Windows")
@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    name = os.fsdecode(b"caf\xe9.png")  # no UTF-8, and it stays what it is
    write(tmp_path, "a.png", "sub/b.png")
    try:
        (tmp_path / "a.png").rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system knows UTF-8 only")
    monkeypatch.chdir(tmp_path)
    reading, writing = os.pipe()
    os.write(writing, end.join([b"./sub/b.png", b"caf\xe9.png", b""]))
    os.close(writing)
    before = os.dup(0)
    os.dup2(reading, 0)
    try:
        source = load_images("-")
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(reading)
    assert source.keys == ["sub/b.png", r"caf\udce9.png"] and reds(source) == [1, 0]
    assert source.description == "standard input: 2 images, no labels"


def test_the_folder_source_takes_an_npz_file(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    source = load_source("folder", tmp_path / "a.npz")
    assert len(source) == 3 and source.name == "npz"
    with pytest.raises(DataError, match="data=npz takes one path, got a, b"):
        load_source("npz", ["a", "b"])


def test_links_that_lead_out_are_followed_on_request(tmp_path: Path) -> None:
    """A folder by ``sort_by=link``, with loops of every kind beside."""
    write(tmp_path, "photos/a.png", "photos/b.png", "more/c.png")
    for cluster, name in enumerate(["a.png", "b.png"]):
        folder = tmp_path / "sorted" / f"cluster_{cluster}"
        folder.mkdir(parents=True)
        (folder / name).symlink_to(tmp_path / "photos" / name)
    (tmp_path / "sorted" / "more").symlink_to(tmp_path / "more")
    (tmp_path / "sorted" / "up").symlink_to(tmp_path)
    (tmp_path / "more" / "back").symlink_to(tmp_path / "sorted")
    (tmp_path / "more" / "round").symlink_to(tmp_path / "more")
    with pytest.raises(DataError, match="link to outside the folder"):
        load_images(tmp_path / "sorted")
    source = load_source("folder", tmp_path / "sorted", follow_links=True)
    assert source.keys == ["cluster_0/a.png", "cluster_1/b.png", "more/c.png"]
    assert isinstance(source, FolderSource) and reds(source) == [0, 1, 2]
    names = [problem.key for problem in source.left_out]
    assert names == ["more/back", "more/round", "up"]
