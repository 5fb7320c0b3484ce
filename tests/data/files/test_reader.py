"""Every kind of image file is read right."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.data import (
    ImageReadError,
    decode_image,
    plain_image,
    read_image,
)
from tests.data.image_files import (
    GREY,
    PIXELS,
    SAMPLES,
    chunk,
    encode,
    grey_tiff,
    png,
    tiff,
)

WIDE = np.array([0, 9, 255])  # grey levels; 257 times that in 16 bits


def pixels_of(path: Path, content: bytes, num_channels: int = 3) -> np.ndarray:
    path.write_bytes(content)
    return np.asarray(read_image(path, num_channels))


@pytest.mark.parametrize(
    "name",
    [
        "png",
        "bmp",
        "ppm",
        "tiff",
        "webp lossless",
        "apng",
        "webp animated",
        "tiff pages",
        "tiff tiff_lzw",
        "tiff tiff_deflate",
        "tiff packbits",
    ],
)
def test_content_decides_whatever_the_suffix(tmp_path: Path, name: str) -> None:
    turned = name in ("tiff", "webp lossless")  # by their EXIF block
    expected = np.rot90(PIXELS, -1) if turned else PIXELS
    found = pixels_of(tmp_path / "a.jpg", SAMPLES[name])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["png 1 bit", "pbm", "tiff group4"])
def test_one_bit(tmp_path: Path, name: str) -> None:
    expected = np.asarray(Image.fromarray(GREY).convert("1")) * np.uint8(255)
    assert set(np.unique(expected)) == {0, 255}
    found = pixels_of(tmp_path / "a", SAMPLES[name], num_channels=1)
    np.testing.assert_array_equal(found, expected)


def test_rgba_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.where(GREY > 127, 255, 0).astype(np.uint8)
    expected = np.where(alpha[..., None] == 255, PIXELS, 255)
    for form, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        content = encode(np.dstack([PIXELS, alpha]), form, **options)
        np.testing.assert_array_equal(pixels_of(tmp_path / "a", content), expected)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bit_grey_in_every_order_of_bytes(tmp_path: Path, mode: str) -> None:
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    data = (WIDE * 257).astype(kind).tobytes()
    image = Image.frombytes(mode, (3, 1), data)
    for form in ("TIFF", "PNG") if mode == "I;16" else ("TIFF",):
        found = pixels_of(tmp_path / "a", encode(image, form), num_channels=1)
        assert found.tolist() == [WIDE.tolist()]


def test_sixteen_and_twelve_bit_tiff(tmp_path: Path) -> None:
    wide = (WIDE * 257).astype("<u2").tobytes()
    path = tmp_path / "a.tif"
    assert pixels_of(path, grey_tiff(3, 16, wide), 1).tolist() == [[0, 9, 255]]
    white_is_zero = grey_tiff(3, 16, wide, photometric=0)
    assert pixels_of(path, white_is_zero, 1).tolist() == [[255, 246, 0]]
    swapped = grey_tiff(3, 16, (WIDE * 257).astype(">u2").tobytes(), order=">")
    assert pixels_of(path, swapped, 1).tolist() == [[0, 9, 255]]
    twelve = grey_tiff(4, 12, bytes([0xFF, 0xF0, 0x00, 0x80, 0x08, 0x00]))
    assert pixels_of(path, twelve, 1).tolist() == [[255, 0, 128, 128]]


def test_png_of_sixteen_bits_per_channel(tmp_path: Path) -> None:
    def row(*values: int) -> bytes:
        return b"\0" + struct.pack(f">{len(values)}H", *values)

    path = tmp_path / "a.png"
    rgb = png(2, 1, 16, 2, row(257, 514, 771, 257 * 200, 65535, 0))
    assert pixels_of(path, rgb).tolist() == [[[1, 2, 3], [200, 255, 0]]]
    grey_alpha = png(2, 1, 16, 4, row(257 * 50, 65535, 0, 0))
    assert pixels_of(path, grey_alpha, 1).tolist() == [[50, 255]]
    rgba = png(2, 1, 16, 6, row(257, 514, 771, 65535, 0, 0, 0, 0))
    assert pixels_of(path, rgba).tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("bits", "row", "transparent", "expected"),
    [
        (1, [0b0101 << 4], 1, [0, 255, 0, 255]),
        (8, [0, 3, 7, 9], 7, [0, 3, 255, 9]),
        (16, [0, 0, 9, 9, 9, 8, 255, 255], 9 * 257, [0, 255, 9, 255]),
    ],
)
def test_transparent_grey_level(
    tmp_path: Path, bits: int, row: list[int], transparent: int, expected: list[int]
) -> None:
    level = chunk(b"tRNS", struct.pack(">H", transparent))
    content = png(4, 1, bits, 0, bytes([0, *row]), level)
    assert pixels_of(tmp_path / "a.png", content, 1).tolist() == [expected]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_with_transparency(tmp_path: Path, transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    content = encode(image, "PNG", transparency=transparency)
    found = pixels_of(tmp_path / "a.png", content)
    assert found.tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("inverted", [True, False])
def test_cmyk_jpeg_with_and_without_adobes_inversion(
    tmp_path: Path, inverted: bool
) -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red
    content = encode(ink, "JPEG", quality=100)  # Pillow writes Adobe's marker
    start = content.index(b"\xff\xee")
    assert content[start + 4 : start + 9] == b"Adobe"
    expected = [255, 0, 0]
    if not inverted:
        length = int.from_bytes(content[start + 2 : start + 4], "big")
        content = content[:start] + content[start + 2 + length :]
        expected = [0, 0, 0]  # the same numbers, now cyan and all of black
    found = pixels_of(tmp_path / "a.jpg", content)
    np.testing.assert_allclose(found, np.broadcast_to(expected, (16, 16, 3)), atol=3)


TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels, 1),
}


@pytest.mark.parametrize("orientation", sorted(TURNS))
def test_all_orientations(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = TURNS[orientation](PIXELS)
    for form, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        content = encode(PIXELS, form, exif=exif, **options)
        np.testing.assert_array_equal(pixels_of(tmp_path / "a", content), expected)


@pytest.mark.parametrize("name", ["jpeg", "png 16 bit", "png alpha", "png palette"])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_an_opened_image_is_read_as_its_file_is(
    tmp_path: Path, name: str, num_channels: int
) -> None:
    path = tmp_path / "a"
    expected = pixels_of(path, SAMPLES[name], num_channels)
    with Image.open(path) as image:
        size = image.size
        found = plain_image(image, num_channels)
        assert image.size == size
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("min_side", [0, 8])
def test_contents_in_memory_are_read_as_their_file_is(
    tmp_path: Path, min_side: int
) -> None:
    for name, content in SAMPLES.items():
        (tmp_path / "image").write_bytes(content)
        expected = read_image(tmp_path / "image", 3, min_side)
        assert decode_image(content, 3, min_side).tobytes() == expected.tobytes(), name
    for content, reason in ((b"", "is empty"), (b"not an image", "not an image")):
        with pytest.raises(ImageReadError, match=f"'in memory': .*{reason}"):
            decode_image(content)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    found = pixels_of(tmp_path / "a.png", encode(GREY, "PNG"))
    np.testing.assert_array_equal(found, GREY[..., None].repeat(3, axis=2))
    with pytest.raises(ValueError, match="num_channels must be 1 or 3, got 4"):
        read_image(tmp_path / "a.png", num_channels=4)


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"],
)
def test_broken_exif_does_no_harm(tmp_path: Path, exif: bytes) -> None:
    found = pixels_of(tmp_path / "a.png", encode(PIXELS, "PNG", exif=exif))
    np.testing.assert_array_equal(found, PIXELS)
    assert pixels_of(tmp_path / "b.jpg", encode(PIXELS, "JPEG", exif=exif)).size


def test_floats_and_scripts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(ImageReadError, match="floats"):
        pixels_of(path, encode(np.ones((2, 2), np.float32), "TIFF"))
    with pytest.raises(ImageReadError, match="16 bits"):
        pixels_of(path, encode(np.full((2, 2), 70_000, np.int32), "TIFF"))
    # Pillow would start another program for it.
    with pytest.raises(ImageReadError, match=r"a\.tif': not an image"):
        pixels_of(path, encode(PIXELS, "EPS"))


def test_tiff_in_tiles_is_read(tmp_path: Path) -> None:
    tile = np.zeros((16, 16), np.uint8)
    tile[:5, :7] = GREY[:5, :7]
    tags = {256: 7, 257: 5, 258: 8, 259: 1, 262: 1, 277: 1}
    tags |= {322: 16, 323: 16, 324: 0, 325: 0}
    found = pixels_of(tmp_path / "a.tif", tiff(tags, tile.tobytes()), 1)
    np.testing.assert_array_equal(found, GREY[:5, :7])


def tiff_of(
    pixels: np.ndarray, order: str, is_planar: bool, **more: int | list[int]
) -> bytes:
    """A TIFF of ``(h, w, channels)``; ``more`` are tags, as ``t262=0``."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.itemsize
    pixels = pixels.astype(pixels.dtype.newbyteorder(order))
    planes = np.moveaxis(pixels, -1, 0) if is_planar else [pixels]
    blocks = [np.ascontiguousarray(plane).tobytes() for plane in planes]
    if more.get("t259") == 8:
        blocks = [zlib.compress(block) for block in blocks]
    tags: dict[int, int | list[int]] = {256: width, 257: height, 259: 1, 278: height}
    tags |= {258: [bits] * channels if channels > 1 else bits, 277: channels}
    tags |= {262: 2 if channels > 2 else 1, 273: 0, 279: 0, 284: 1 + is_planar}
    if channels in (2, 4):
        tags[338] = 2  # the last is alpha
    tags |= {int(name[1:]): value for name, value in more.items()}
    return tiff(tags, *blocks, order=order)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("channels", "bits", "is_planar", "more"),
    [
        (3, 16, True, {}),
        (4, 16, True, {}),
        (2, 8, True, {}),
        (2, 8, True, {"t259": 8}),
        (2, 16, False, {}),
        (2, 16, True, {"t274": 6}),
        (1, 16, False, {"t262": 0}),
    ],
)
def test_tiff_that_pillow_misreads_is_read_rightly_or_refused(
    tmp_path: Path,
    order: str,
    channels: int,
    bits: int,
    is_planar: bool,
    more: dict[str, int | list[int]],
) -> None:
    alpha = np.where(GREY > 127, 255, 0).astype(np.uint8)
    plain = PIXELS if channels > 2 else GREY[..., None]
    pixels = np.dstack([plain, alpha]) if channels in (2, 4) else plain
    wide = pixels.astype(np.uint16) * 257 if bits == 16 else pixels
    expected = 255 - plain if more.get("t262") == 0 else plain
    if channels in (2, 4):
        expected = np.where(alpha[..., None] == 255, expected, 255)
    expected = np.rot90(expected, -1) if "t274" in more else expected
    content = tiff_of(wide, order, is_planar, **more)
    try:
        found = pixels_of(tmp_path / "a.tif", content, 3 if channels > 2 else 1)
    except ImageReadError as error:
        assert find_spec("tifffile") is None
        assert "pip install tifffile" in str(error)
    else:
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_signed_bytes_are_refused(tmp_path: Path) -> None:
    content = tiff_of(GREY[..., None], "<", False, t339=2)
    with pytest.raises(ImageReadError, match="its pixels are signed"):
        pixels_of(tmp_path / "a.tif", content, 1)


def test_lab_becomes_grey_as_it_becomes_colour(tmp_path: Path) -> None:
    content = encode(Image.new("LAB", (3, 2), (150, 128, 128)), "TIFF")
    colour = pixels_of(tmp_path / "a.tif", content)
    grey = pixels_of(tmp_path / "a.tif", content, 1)
    assert colour.std() < 3 and np.abs(grey - colour[..., 0].astype(int)).max() <= 3


@pytest.mark.parametrize("rows", [PIXELS.shape[0], 1 << 30])
def test_strips_take_no_more_memory_than_the_header_says(
    tmp_path: Path, rows: int
) -> None:
    pytest.importorskip("tifffile")
    two = np.dstack([GREY, GREY])
    height, width = GREY.shape
    for size, message in ((64 << 20, "more data than its header"), (0, "")):
        strips = [zlib.compress(GREY.tobytes() + bytes(size))] * 2
        tags = {256: width, 257: height, 258: [8, 8], 259: 8, 262: 1, 277: 2}
        tags |= {273: 0, 278: rows, 279: 0, 284: 2, 338: 2}
        tracemalloc.start()
        try:
            if message:
                with pytest.raises(ImageReadError, match=message):
                    pixels_of(tmp_path / "a.tif", tiff(tags, *strips), 1)
            else:
                found = pixels_of(tmp_path / "a.tif", tiff(tags, *strips), 1)
                assert found.shape == two.shape[:2]
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_other_kinds_of_tiff_are_named(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    five = np.dstack([PIXELS, GREY, GREY])
    with pytest.raises(ImageReadError, match=r"5 channel\(s\) of uint8"):
        pixels_of(tmp_path / "a.tif", tiff_of(five, "<", True))
    content = tiff_of(five, "<", True, t256=1 << 16, t257=1 << 16)
    with pytest.raises(ImageReadError, match="it claims 65536 x 65536 pixels"):
        pixels_of(tmp_path / "a.tif", content)
    with pytest.raises(ImageReadError, match="not an image, or its header is damaged"):
        pixels_of(tmp_path / "a.tif", b"II*\0" + bytes(100))
