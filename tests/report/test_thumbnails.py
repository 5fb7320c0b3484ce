from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.report.drawing import gallery_image
from hadis_lightly.report.thumbnails import (
    IMAGES_PER_SHEET,
    Sheet,
    make_sheets,
)


def opened(sheet: Sheet) -> Image.Image:
    return Image.open(BytesIO(sheet.data)).convert("RGB")


def only(image: Image.Image) -> Sheet:
    (sheet,) = make_sheets(lambda row: image, [0])
    return sheet


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def test_tiny_images_keep_every_pixel() -> None:
    images = [noise(20, 12), noise(8, 8)]
    (sheet,) = make_sheets(lambda row: images[row], [0, 1])
    assert sheet.sizes == sheet.originals == [(20, 12), (8, 8)]
    picture = opened(sheet)
    for place, image in enumerate(images):
        line, column = divmod(place, sheet.n_columns)
        x, y = column * sheet.cell[0], line * sheet.cell[1]
        box = (x, y, x + image.width, y + image.height)
        assert np.array_equal(picture.crop(box), image)


def test_photos_become_small_jpegs_and_keep_their_shape() -> None:
    sheet = only(Image.new("RGB", (1200, 800), "teal"))
    assert sheet.mime == "image/jpeg"
    assert sheet.originals == [(1200, 800)]
    width, height = sheet.sizes[0]
    assert width * height == pytest.approx(256**2, rel=0.02)
    assert width / height == pytest.approx(1.5, rel=0.02)
    assert np.abs(np.asarray(opened(sheet))[5, 5] - np.array([0, 128, 128])).max() < 6


def test_photos_need_not_be_read_whole() -> None:
    def read_small(row: int, min_side: int) -> tuple[Image.Image, tuple[int, int]]:
        assert row == 0 and min_side == 512
        return Image.new("RGB", (768, 512), "teal"), (6000, 4000)

    def read(row: int) -> Image.Image:
        raise AssertionError

    (sheet,) = make_sheets(read, [0], read_small=read_small)
    assert sheet.originals == [(6000, 4000)]
    whole = only(Image.new("RGB", (6000, 4000), "teal"))
    assert (sheet.sizes, sheet.data) == (whole.sizes, whole.data)


def test_the_gallery_shrinks_photos_and_nothing_else() -> None:
    tiny = noise(134, 20)
    assert gallery_image(tiny) is tiny and tiny.size == (134, 20)
    assert gallery_image(Image.new("RGB", (400, 200))).size == (134, 67)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (40, 4000), (3000, 70)])
def test_of_long_images_the_middle_is_shown(size: tuple[int, int]) -> None:
    sheet = only(Image.new("RGB", size))
    width, height = sheet.sizes[0]
    assert max(width, height) <= 3 * min(width, height)
    assert min(width, height) <= min(size)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "HSV", "YCbCr"])
def test_any_mode(mode: str) -> None:
    sheet = only(noise(30, 20).convert("RGB").convert(mode))
    assert sheet.sizes == [(30, 20)]
    assert opened(sheet).getextrema() != ((0, 0),) * 3


@pytest.mark.parametrize("kind", ["uint16", "int32"])
def test_grey_of_16_bits_goes_from_black_to_white(kind: str) -> None:
    ramp = np.linspace(0, 65535, 16 * 16).reshape(16, 16).astype(kind)
    extrema = opened(only(Image.fromarray(ramp))).getextrema()
    assert all(low < 12 and high > 243 for low, high in extrema)


def test_transparent_parts_lie_on_white() -> None:
    sheet = only(Image.new("RGBA", (16, 16), (200, 0, 0, 0)))
    assert opened(sheet).getpixel((8, 8)) == (255, 255, 255)


def test_an_image_that_cannot_be_read_has_no_size() -> None:
    def read(row: int) -> Image.Image:
        if row == 1:
            raise FileNotFoundError("gone")
        return noise(10, 10)

    (sheet,) = make_sheets(read, [0, 1, 2])
    assert sheet.sizes == [(10, 10), (0, 0), (10, 10)]


def test_only_images_that_cannot_be_read() -> None:
    def read(row: int) -> Image.Image:
        if row == 1:
            return Image.new("F", (8, 8))  # floats have no fixed range
        raise OSError("gone")

    (sheet,) = make_sheets(read, [0, 1])
    assert sheet.sizes == [(0, 0), (0, 0)]


def test_other_errors_are_not_hidden() -> None:
    def read(row: int) -> Image.Image:
        raise KeyError(row)

    with pytest.raises(KeyError):
        list(make_sheets(read, [0, 1]))


def test_the_budget_is_kept_even_by_noise() -> None:
    images = [noise(160, 120) for _ in range(2)]
    budget = 200 * 1000
    sheets = list(
        make_sheets(lambda row: images[row % 2], range(200), budget_bytes=budget)
    )
    assert sum(len(sheet.data) for sheet in sheets) <= budget


def test_the_same_bytes_again_with_any_number_of_threads() -> None:
    images = [noise(50 + row % 7, 80) for row in range(100)]
    results = [
        list(make_sheets(lambda row: images[row], range(100), num_threads=threads))
        for threads in (1, 4)
    ]
    assert results[0] == results[1]


def test_progress_is_told_in_order() -> None:
    told: list[tuple[int, int]] = []
    n = 2 * IMAGES_PER_SHEET + 3
    sheets = list(
        make_sheets(
            lambda row: noise(4, 4),
            range(n),
            progress=lambda done, total: told.append((done, total)),
        )
    )
    assert told == [(IMAGES_PER_SHEET, n), (2 * IMAGES_PER_SHEET, n), (n, n)]
    assert [len(sheet.sizes) for sheet in sheets] == [64, 64, 3]
