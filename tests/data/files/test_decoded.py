"""Images decoded once: the same pixels, in memory or in a cache, reduced or not."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from hadis_lightly.atomic import unfinished_name
from hadis_lightly.data import (
    FolderSource,
    ImageReadError,
    PixelCache,
    load_source,
    read_headers,
    read_image,
    stack_images,
)
from hadis_lightly.data.files import array_cache, checking
from hadis_lightly.data.files import folder as folder_module
from hadis_lightly.data.files.reader import read_size, reduced_size
from tests.data.image_files import SAMPLES, chunk, encode


def fail(done: int, total: int) -> None:
    raise AssertionError("nothing is to be read")


def decoded_images(
    source: FolderSource, cache: PixelCache | None = None, **options: Any
) -> FolderSource:
    return checking.decoded_images(source, read_headers(source), cache, **options)


def folder_source(folder: Path, min_side: int = 0) -> FolderSource:
    source = load_source("folder", folder, on_error="skip", min_side=min_side)
    assert isinstance(source, FolderSource)
    return source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of all kinds and of two sizes; one is cut."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, content in SAMPLES.items():
        (folder / f"{name}.png").write_bytes(content)
    Image.new("RGB", (40, 30), "red").save(folder / "large.png")
    (folder / "cut.png").write_bytes(SAMPLES["png"][:400])
    return folder


@pytest.mark.parametrize("min_side", [0, 8])
@pytest.mark.parametrize("in_file", [False, True])
def test_pixels_are_those_of_the_files(
    folder: Path, tmp_path: Path, in_file: bool, min_side: int
) -> None:
    source = folder_source(folder, min_side)
    cache = PixelCache(tmp_path / "cache") if in_file else None
    found = decoded_images(source, cache, on_error="skip")
    assert [problem.key for problem in found.left_out] == ["cut.png"]
    assert set(found.keys) == set(source.keys) - {"cut.png"}
    assert found.decoded is not None
    for copy in (found, pickle.loads(pickle.dumps(found))):
        for index, key in enumerate(copy.keys):
            expected = source.read(source.keys.index(key))
            assert copy.read(index).tobytes() == expected.tobytes()
            assert copy.read(index).size == expected.size
    part = found.subset(np.array([2, 0]), "two")
    assert part.read(1).tobytes() == found.read(0).tobytes()
    if in_file:  # a worker process opens the file
        assert len(pickle.dumps(found.decoded)) < found.decoded.pixels.nbytes // 2 + 999
        again = decoded_images(source, cache, on_error="skip", progress=fail)
        assert again.left_out == found.left_out
        assert again.description == found.description
        with pytest.raises(ImageReadError, match=r"'cut\.png'.*on_error=skip"):
            decoded_images(source, cache, progress=fail)


def test_a_file_that_has_changed_is_decoded_again(tmp_path: Path) -> None:
    path = tmp_path / "photos" / "a.bmp"
    path.parent.mkdir()
    cache = PixelCache(tmp_path / "cache")
    pixels = np.zeros((80, 80, 3), dtype=np.uint8)
    for value in (0, 9):  # in the middle of a file of the same size
        pixels[40, 40] = value
        Image.fromarray(pixels).save(path)
        os.utime(path, ns=(value, value))
        found = decoded_images(folder_source(path.parent), cache)
        assert found.read(0).getpixel((40, 40)) == (value,) * 3


@pytest.mark.parametrize("suffix", ["npz", "pixels"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(SAMPLES["png"])
    cache = PixelCache(tmp_path / "cache")
    source = folder_source(tmp_path / "photos")
    decoded_images(source, cache)
    (file,) = cache.folder.glob(f"*.{suffix}")
    file.write_bytes(file.read_bytes()[:100])
    found = decoded_images(source, cache)
    assert found.read(0).tobytes() == source.read(0).tobytes()


def test_what_nobody_reads_is_removed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(SAMPLES["png"])
    decoded_images(folder_source(tmp_path / "photos"), PixelCache(tmp_path / "cache"))
    files = sorted((tmp_path / "cache").iterdir())
    assert [file.suffix for file in files] == [".lock", ".npz", ".pixels"]
    PixelCache(tmp_path / "cache")
    assert sorted((tmp_path / "cache").iterdir()) == files
    of_others = tmp_path / "cache" / "thesis.npz"
    of_others.touch()
    of_a_killed_process = unfinished_name(files[-1])
    of_a_killed_process.touch()
    for file in (files[1], of_others, of_a_killed_process):
        os.utime(file, times=(time.time() - 31 * 86_400,) * 2)
    cache = PixelCache(tmp_path / "cache")  # of one key, one file was read
    assert set(cache.folder.iterdir()) == {*files, of_others}
    os.utime(files[2], times=(time.time() - 31 * 86_400,) * 2)
    with cache.locked(files[0].stem):
        PixelCache(tmp_path / "cache")
        assert set(cache.folder.iterdir()) == {*files, of_others}
    PixelCache(tmp_path / "cache")
    assert set(cache.folder.iterdir()) == {files[0], of_others}


KEYS = ("0" * 32, "1" * 32, "2" * 32)


def fill(cache: PixelCache, key: str, age: float, num_bytes: int) -> list[Path]:
    """A key that was last read so many seconds ago: its file and its index."""
    cache.file(key).write_bytes(bytes(num_bytes))
    cache.save_index(key, {})
    files = [cache.file(key), cache.file(key).with_suffix(".npz")]
    for file in files:
        os.utime(file, times=(time.time() - age,) * 2)
    return files


def test_room_is_made_by_what_is_oldest_and_idle(tmp_path: Path) -> None:
    cache, size = PixelCache(tmp_path), 1 << 25
    busy, idle, new = (
        fill(cache, key, age, size) for age, key in zip((30, 20, 10), KEYS, strict=True)
    )
    cache.make_room("3" * 32, 1000)
    with pytest.raises(OSError, match="No space left"):
        cache.make_room("3" * 32, 10 * shutil.disk_usage(tmp_path).free)
    assert all(file.exists() for file in busy + idle + new)
    with cache.locked(KEYS[0]):  # by another handle, as another process has one
        usable = shutil.disk_usage(tmp_path).free - array_cache._BYTES_LEFT_FREE
        PixelCache(tmp_path).make_room("3" * 32, usable + size // 2)
        assert all(file.exists() for file in busy + new)
        assert not any(file.exists() for file in idle)
        with pytest.raises(BlockingIOError), cache.locked(KEYS[0], wait=False):
            pass


def test_a_key_that_is_replaced_has_no_index(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path)
    fill(cache, KEYS[0], 0, 10)
    cache.make_room(KEYS[0], 10)
    cache.file(KEYS[0]).write_bytes(bytes(10))
    assert cache.load_index(KEYS[0]) is None


def test_a_failure_of_the_system_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_WAITS", (0.01,))
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "abc":
        (photos / f"{name}.png").write_bytes(SAMPLES["png"])
    source, cache = folder_source(photos), PixelCache(tmp_path / "cache")
    headers = read_headers(source)
    (photos / "b.png").rename(tmp_path / "aside")
    options = {"headers": headers, "cache": cache, "on_error": "skip"}
    assert len(checking.decoded_images(source, **options)) == 2
    (tmp_path / "aside").rename(photos / "b.png")
    assert len(checking.decoded_images(source, **options)) == 3


def test_a_file_that_comes_back_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(SAMPLES["png"])
    source = folder_source(tmp_path)
    headers = read_headers(source)
    (tmp_path / "a.png").rename(tmp_path / "aside")
    back = threading.Timer(0.2, (tmp_path / "aside").rename, [tmp_path / "a.png"])
    back.start()
    assert len(checking.decoded_images(source, headers)) == 1
    back.join()


def _decode(photos: Path, cache: Path, answers: multiprocessing.SimpleQueue) -> None:
    done: list[int] = []
    found = decoded_images(
        folder_source(photos),
        PixelCache(cache),
        progress=lambda count, total: done.append(count),
    )
    answers.put((len(done), found.read(7).tobytes()))


@pytest.mark.skipif(os.name != "posix", reason="needs fork and its locks")
def test_of_several_processes_one_decodes(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(50):
        pixels = np.random.default_rng(number).integers(0, 255, (90, 70, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{number:02}.png")
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    processes = [
        context.Process(target=_decode, args=(photos, tmp_path / "c", answers))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = [answers.get() for _ in range(3)]
    assert sorted(count for count, _ in found) == [0, 0, 50]
    assert {pixels for _, pixels in found} == {read_image(photos / "07.png").tobytes()}


def test_images_of_one_size_become_one_array_without_a_copy(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("L", (6, 4), 20 * number).save(tmp_path / f"{number}.png")
    found = decoded_images(folder_source(tmp_path))
    pixels = stack_images(found)
    assert found.decoded is not None
    assert np.shares_memory(pixels, found.decoded.pixels)
    assert pixels.shape == (4, 4, 6, 3)
    assert pixels[:, 0, 0, 0].tolist() == [0, 20, 40, 60]
    picked = stack_images(found.subset(np.array([3, 1]), "two"))
    assert picked[:, 0, 0, 0].tolist() == [60, 20]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_headers_give_the_size_of_the_image(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(SAMPLES[name])
    assert read_size(path) == read_image(path).size


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_large_images_are_reduced_upright(
    tmp_path: Path, form: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = Image.fromarray(load_sample_image("china.jpg"))  # 640 x 427
    path = tmp_path / "a"
    path.write_bytes(encode(photo, form, exif=exif))
    full, reduced = read_image(path), read_image(path, min_side=64)
    assert reduced.size == reduced_size(read_size(path), 64)
    assert reduced.size == ((64, 96) if orientation in (6, 8) else (96, 64))
    smooth = full.resize(reduced.size, Image.Resampling.BICUBIC)
    error = np.abs(np.asarray(reduced).astype(float) - np.asarray(smooth)).mean()
    assert error < 2.5  # levels of 255
    assert read_image(path, min_side=427).tobytes() == full.tobytes()


def test_crops_of_a_reduced_photo_show_the_same(tmp_path: Path) -> None:
    # The distribution of crops is relative to the size of an image; so compare one
    # crop of both.
    photo = Image.fromarray(load_sample_image("flower.jpg")).resize((2560, 1708))
    photo.save(tmp_path / "a.jpg", quality=90)
    full, reduced = (read_image(tmp_path / "a.jpg", min_side=s) for s in (0, 64))
    rng = np.random.default_rng(0)
    for _ in range(20):
        side = rng.uniform(0.28, 1.0)  # of the smallest crop, 8 % of the area
        left, top = rng.uniform(0, 1 - side, size=2)
        corners = (left, top, left + side, top + side)
        views = []
        for image in (full, reduced):
            box = tuple(c * s for c, s in zip(corners, image.size * 2, strict=True))
            view = image.resize((32, 32), Image.Resampling.BILINEAR, box=box)
            views.append(np.asarray(view, dtype=float).ravel())
        assert np.corrcoef(views)[0, 1] > 0.99


@pytest.mark.parametrize("size", [(808, 801), (801, 808), (800, 800)])
def test_nearly_square_photos_are_not_turned(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    Image.new("RGB", size).save(tmp_path / "a.jpg")
    reduced = read_image(tmp_path / "a.jpg", min_side=100)
    assert reduced.size == reduced_size(size, 100)


def test_exif_after_the_pixels_of_a_png_is_seen_in_time(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.new("RGB", (9, 4)), "PNG")
    late = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    end = content.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:end] + late + content[end:])
    assert read_size(tmp_path / "a.png") == (4, 9)
    assert read_image(tmp_path / "a.png").size == (4, 9)


def test_headers_alone_do_not_see_damaged_pixels(folder: Path) -> None:
    (folder / "text.png").write_bytes(b"no image")
    source = folder_source(folder)
    headers = read_headers(source)
    assert [source.keys[row] for row in headers.problems] == ["text.png"]
    assert (headers.sizes > 0).all(axis=1).sum() == len(source) - 1
    with pytest.raises(ImageReadError, match=r"1 of \d+ images .*'text\.png'"):
        headers.apply(source, "raise")


@pytest.mark.slow
def test_every_file_of_a_mixed_folder_is_accounted_for(tmp_path: Path) -> None:
    samples, bad = sorted(SAMPLES.items()), [b"", b"text", SAMPLES["png"][:200]]
    for number in range(2300):
        name, content = f"{number:04}.png", samples[number % len(samples)][1]
        if number < 100:
            content = bad[number % 3]
        elif number < 300:
            name = f"{number:04}.{('txt', 'mov', 'xmp')[number % 3]}"
        place = tmp_path / f"folder {number % 7}"
        place.mkdir(exist_ok=True)
        (place / name).write_bytes(content)
    found = decoded_images(folder_source(tmp_path), on_error="skip")
    assert len(found) == 2000
    assert {key[-8:] for key, _ in found.left_out} == {
        f"{i:04}.png" for i in range(100)
    }
    assert found.description.endswith(
        ": 2,100 images, 7 classes; 200 other files not read: 67 .mov, 67 .xmp, "
        "66 .txt; without 100 that cannot be read: 2,000 images"
    )
