from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hadis_lightly.data import ImageReadError, read_image

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, size=(6, 9, 3), dtype=np.uint8)


def test_rgb_is_read_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), PIXELS)
    assert read_image(tmp_path / "a.png", num_channels=1).mode == "L"


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        np.asarray(read_image(tmp_path / "a.png")), PIXELS[..., :1].repeat(3, axis=2)
    )


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    expected = np.rot90(PIXELS, k=-1)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png")), expected)


def test_malformed_exif_does_no_harm(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=b"Exif\0\0nonsense")
    assert read_image(tmp_path / "a.jpg").size == (9, 6)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_sixteen_bit_grey_is_scaled(tmp_path: Path, num_channels: int) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    for suffix in ("png", "tif"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(values).save(path)
        pixels = np.asarray(read_image(path, num_channels=num_channels))
        np.testing.assert_array_equal(pixels.reshape(4, -1)[:, 0], [0, 1, 128, 255])


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    half = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(half).save(tmp_path / "a.png")
    pixels = np.asarray(read_image(tmp_path / "a.png"))
    assert pixels.tolist() == [[[200, 0, 0], [255, 255, 255], [204, 204, 204]]]


def test_grey_with_alpha(tmp_path: Path) -> None:
    image = Image.new("LA", (2, 1), (0, 0))
    image.putpixel((1, 0), (90, 255))
    image.save(tmp_path / "a.png")
    pixels = np.asarray(read_image(tmp_path / "a.png", num_channels=1))
    assert pixels.tolist() == [[255, 90]]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_with_transparency(tmp_path: Path, transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=transparency)
    pixels = np.asarray(read_image(tmp_path / "a.png"))
    assert pixels.tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_transparent_colour_of_an_rgb_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (7, 8, 9))
    image.save(tmp_path / "a.png", transparency=(1, 2, 3))
    pixels = np.asarray(read_image(tmp_path / "a.png"))
    assert pixels.tolist() == [[[255, 255, 255], [7, 8, 9]]]


@pytest.mark.parametrize(
    ("mode", "name"),
    [("CMYK", "a.jpg"), ("CMYK", "a.tif"), ("1", "a.png"), ("P", "a.gif")],
)
def test_other_modes_become_rgb(tmp_path: Path, mode: str, name: str) -> None:
    Image.new("RGB", (4, 3), "white").convert(mode).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (4, 3))
    assert np.asarray(image).min() >= 250


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\nbroken"])
def test_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad one.png"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=r"bad one\.png") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp"])
def test_cut_off_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ImageReadError, match="cut"):
        read_image(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match=r"none\.png"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.ones((2, 2), np.float32), "floats"),
        (np.full((2, 2), 70_000, np.int32), "16 bits"),
    ],
)
def test_pixels_without_a_fixed_range_are_refused(
    tmp_path: Path, values: np.ndarray, reason: str
) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ImageReadError, match=rf"a\.tif.*{reason}"):
        read_image(tmp_path / "a.tif")


def test_bad_number_of_channels_is_named() -> None:
    with pytest.raises(ValueError, match="num_channels must be 1 or 3, got 4"):
        read_image("a.png", num_channels=4)
