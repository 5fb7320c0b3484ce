"""Every image is looked at once; bad ones are named or left out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.data import (
    DataError,
    FolderSource,
    ImageProblem,
    ImageReadError,
    IndexedDataset,
    common_size,
    describe_problems,
    load_digits,
    load_folder,
    load_source,
    readable_images,
    stack_images,
)
from tests.data.image_files import SAMPLES, encode

BAD = {
    "cat/empty.png": b"",
    "cat/text.jpg": b"no image",
    "cow/cut.png": SAMPLES["png"][:400],
    "cow/cut.gif": SAMPLES["gif"][:100],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images in two classes, and four bad files of which two were a class."""
    files = {f"{name}/{i}.png": SAMPLES["png"] for name in ("cat", "dog") for i in "01"}
    files |= {f"dog/{name}.bin.png": SAMPLES[name] for name in ("bmp", "gif", "webp")}
    for name, content in (files | BAD).items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "photos"


def skipped(source: FolderSource) -> tuple[ImageProblem, ...]:
    """What is left out if files that cannot be read are skipped."""
    checked = readable_images(source, on_error="skip")
    assert isinstance(checked, FolderSource)
    return checked.left_out


def test_bad_files_are_skipped_and_listed(folder: Path) -> None:
    everything = load_source("folder", folder, on_error="skip")
    source = readable_images(everything, on_error="skip")
    assert isinstance(source, FolderSource)
    assert [key for key, _ in source.left_out] == sorted(BAD)
    reasons = dict(source.left_out)
    assert reasons["cat/empty.png"] == "the file is empty"
    assert reasons["cat/text.jpg"] == "not an image, or its header is damaged"
    assert all("\n" not in reason for reason in reasons.values())
    assert set(source.keys) == set(everything.keys) - set(BAD)
    assert source.description == (
        "folder photos: 11 images, 3 classes; without 4 that cannot be read: 7 images"
    )


def test_classes_keep_their_numbers(folder: Path) -> None:
    source = readable_images(load_folder(folder), on_error="skip")
    assert source.class_names == ("cat", "cow", "dog")  # cow has lost all its images
    for index, key in enumerate(source.keys):
        image, target, position = IndexedDataset(source)[index]
        assert source.class_names[target] == key.split("/")[0]
        assert position == index
        assert image.size == (17, 13)
    assert set(source.targets.tolist()) == {0, 2}


def test_all_bad_files_are_named_in_one_line(folder: Path) -> None:
    with pytest.raises(ImageReadError) as caught:
        readable_images(load_folder(folder))
    message = str(caught.value)
    assert message.startswith("4 of 11 images cannot be read: 'cat/empty.png' (the ")
    assert all(f"'{name}'" in message for name in BAD)
    assert message.endswith("data.on_error=skip leaves them out")
    assert message.isprintable()


def test_long_lists_are_cut(tmp_path: Path) -> None:
    (tmp_path / "ok.png").write_bytes(SAMPLES["png"])
    for number in range(47):
        (tmp_path / f"bad{number:02}.png").write_bytes(b"")
    source = load_folder(tmp_path)
    with pytest.raises(
        ImageReadError, match=r"'bad09\.png' .*, and 37 more; "
    ) as error:
        readable_images(source)
    assert "bad10" not in str(error.value)
    assert str(error.value).startswith("47 of 48 images cannot be read")
    problems = skipped(source)
    lines = describe_problems(problems).splitlines()
    assert lines[0] == "47 files left out:"
    assert lines[1] == "  bad00.png: the file is empty"
    assert lines[11:] == ["  and 37 more"]
    assert describe_problems(problems[:10], num_problems=47).splitlines() == lines
    everything = describe_problems(problems, limit=None).splitlines()
    assert len(everything) == 48
    assert everything[-1] == "  bad46.png: the file is empty"


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_nothing_readable_is_an_error(tmp_path: Path, on_error: str) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"no image is left: 1 of 1 .*'bad\.png'"):
        readable_images(load_folder(tmp_path), on_error=on_error)


def test_good_folder_knows_its_sizes(tmp_path: Path) -> None:
    for number in range(100):
        size = (5, 4) if number == 50 else (4, 5)
        Image.new("L", size).save(tmp_path / f"{number:03}.png")
    source = load_folder(tmp_path)
    assert common_size(source) == (5, 4)  # a sample misses the one that differs
    seen: list[tuple[int, int]] = []
    checked = readable_images(
        source, num_threads=3, progress=lambda done, n: seen.append((done, n))
    )
    assert seen == [(done, 100) for done in range(1, 101)]
    assert checked.description == source.description
    assert common_size(checked) is None
    others = np.delete(np.arange(100), 50)
    assert common_size(checked.subset(others, "of one size")) == (5, 4)


def test_sizes_are_those_after_turning(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.new("RGB", (4, 7)), "PNG", exif=exif)
    (tmp_path / "a.png").write_bytes(content)
    checked = readable_images(load_folder(tmp_path))
    assert common_size(checked) == (4, 7) == stack_images(checked).shape[1:3]


def test_links_left_out_do_not_raise_but_are_listed(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.png").write_bytes(SAMPLES["png"])
    (tmp_path / "b.png").write_bytes(SAMPLES["png"])
    (tmp_path / "root" / "b.png").symlink_to(tmp_path / "b.png")
    source = readable_images(load_folder(tmp_path / "root"))
    assert isinstance(source, FolderSource)
    assert source.left_out == (ImageProblem("b.png", "link to outside the folder"),)
    assert source.keys == ["a.png"]


def test_file_that_goes_later_is_named(folder: Path) -> None:
    source = readable_images(load_folder(folder), on_error="skip")
    (folder / source.keys[2]).unlink()
    with pytest.raises(ImageReadError, match=r"dog/0\.png': No such file"):
        source.read(2)
    with pytest.raises(ImageReadError, match=r"dog/0\.png"):
        stack_images(source)


def test_images_in_memory_pass_untouched() -> None:
    digits = load_digits()

    def fail(done: int, total: int) -> None:
        raise AssertionError("nothing is to be read")

    assert readable_images(digits, progress=fail) is digits


@pytest.mark.skipif(os.name != "posix", reason="needs any name")
def test_summary_is_printable_whatever_the_names(tmp_path: Path) -> None:
    (tmp_path / "ok.png").write_bytes(SAMPLES["png"])
    raw = [b"new\nline.png", b"\xff.png", b"\x1b[31m.png", "\u202egnp.png".encode()]
    raw += ["caf\u00e9.png".encode(), "cafe\u0301.png".encode()]
    for name in raw:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")
    problems = skipped(load_folder(tmp_path))
    lines = describe_problems(problems, limit=None).splitlines()
    assert len(lines) == 1 + len(raw)
    assert all(line.isprintable() for line in lines)
    "\n".join(lines).encode("utf-8")
    shown = {line.split(":")[0].strip() for line in lines[1:]}
    assert {r"new\nline.png", r"\udcff.png", r"\x1b[31m.png"} < shown
    assert {r"\u202egnp.png", "caf\u00e9.png", "cafe\u0301.png"} < shown


def test_summary_of_nothing() -> None:
    assert describe_problems([]) == "no file left out"
    assert describe_problems([ImageProblem("a", "b")]) == "1 file left out:\n  a: b"


def test_reading_stops_soon_after_an_interruption(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}.png").write_bytes(SAMPLES["png"])
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        readable_images(load_folder(tmp_path), progress=stop)
    assert seen == [1, 2, 3]


def test_a_set_that_uses_a_small_part_of_its_range_is_told_so(tmp_path: Path) -> None:
    ten_bits = np.linspace(0, 1023, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(ten_bits).save(tmp_path / "a.png")
    Image.fromarray(ten_bits // 2).save(tmp_path / "b.png")
    told = "all pixels lie between 0 and 4 of 255: scale them first"
    assert told in readable_images(load_folder(tmp_path)).description
    Image.fromarray(ten_bits * 64).save(tmp_path / "c.png")
    assert "lie between" not in readable_images(load_folder(tmp_path)).description
