"""What cannot be read is refused in one line, soon and without much memory."""

from __future__ import annotations

import multiprocessing
import os
import socket
import struct
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hadis_lightly.data import MAX_PIXELS, ImageReadError, read_image
from tests.data.image_files import PIXELS, SAMPLES, encode, png, tiff

SIDE = 60_000


def refusal(path: Path) -> str:
    with pytest.raises(ImageReadError) as caught:
        read_image(path)
    message = str(caught.value)
    assert repr(str(path)) in message
    assert message.isprintable()
    assert caught.value.reason in message
    return caught.value.reason


def with_size(content: bytes, at: int, packed: bytes) -> bytes:
    return content[:at] + packed + content[at + len(packed) :]


def bombs() -> dict[str, bytes]:
    """Small files that claim to be huge."""
    gif = encode(Image.new("P", (4, 4)), "GIF")
    frame = gif.index(b"\x2c", 13)
    jpeg = encode(Image.new("RGB", (4, 4)), "JPEG")
    webp = encode(Image.new("RGB", (4, 4)), "WEBP", lossless=True)
    start = webp.index(b"VP8L") + 9
    tags = {256: SIDE, 257: SIDE, 258: 8, 259: 1, 262: 1}
    tags |= {273: 0, 277: 1, 278: SIDE, 279: 0}
    tiles = {256: 10, 257: 10, 258: [8, 8, 8], 259: 8, 262: 2, 277: 3}
    tiles |= {322: 65_520, 323: 65_520, 324: 0, 325: 0}
    little = struct.pack("<HH", SIDE, SIDE)
    return {
        "png": png(SIDE, SIDE, 8, 2, b"\0" * 1000),
        "png 1 bit": png(SIDE, SIDE, 1, 0, b"\0" * 1000),
        "gif": with_size(gif, 6, little),
        "gif frame": with_size(gif, frame + 5, little),
        "bmp": with_size(encode(PIXELS, "BMP"), 18, struct.pack("<ii", SIDE, SIDE)),
        "ppm": b"P6\n%d %d\n255\nabc" % (SIDE, SIDE),
        "jpeg": with_size(
            jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", SIDE, SIDE)
        ),
        "webp": with_size(webp, start, struct.pack("<I", 0x0FFFFFFF)),
        "tiff": tiff(tags, b"abc"),
        "tiff tiles": tiff(tiles, b"abc"),
    }


BOMBS = bombs()


def data_bytes() -> int:
    """Memory of this process that counts towards RLIMIT_DATA."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmData"].split()[0]) * 1024


def read_with_little_memory(connection: Connection, folder: Path) -> None:
    """Sends why each image is refused where 64 MiB are left to take."""
    import resource

    limit = data_bytes() + (64 << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    connection.send([refusal(path) for path in sorted(folder.iterdir())])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_bombs_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    for number, content in enumerate(BOMBS.values()):
        (tmp_path / f"{number:02}.png").write_bytes(content)
    (tmp_path / "control.png").write_bytes(png(11_000, 11_000, 1, 0, b"\0" * 1000))
    ours, theirs = multiprocessing.Pipe()
    # A fresh process: one that has freed memory may take it again beyond the limit.
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=read_with_little_memory, args=(theirs, tmp_path))
    process.start()
    theirs.close()
    try:
        assert ours.poll(120)
        *reasons, control = ours.recv()
    finally:
        process.kill()
        process.join()
    ours.close()
    assert len(reasons) == len(BOMBS)
    assert all("pixels" in reason for reason in reasons), reasons
    assert control == "MemoryError"  # of one that is just small enough


def test_the_limit_does_not_depend_on_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(BOMBS["png"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert refusal(path) == f"it claims 60000 x 60000 pixels, more than {MAX_PIXELS:,}"


def test_no_warning_leaves_any_thread(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    # Of this one Pillow warns.
    broken = (
        b"Exif\0\0MM\0*\0\0\0\x08\x00\x01\x01\x12\x00\x03\x00\x00\xff\xff\0\0\xff\0"
    )
    path.write_bytes(encode(PIXELS, "JPEG", exif=broken))
    with (
        pytest.warns(UserWarning, match="Tag|Corrupt|Truncated"),
        Image.open(path) as image,
    ):
        image.getexif()
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(read_image, [path] * 64))
    assert {image.size for image in images} == {(17, 13)}
    assert warnings.filters == filters


def test_a_photo_of_a_phone_says_that_it_is_cut_off(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    content = encode(PIXELS, "HEIF")
    (tmp_path / "a.heic").write_bytes(content[:-20])
    assert refusal(tmp_path / "a.heic") == "the file is cut off: its end is missing"


def test_kind_of_damage_is_said(tmp_path: Path) -> None:
    for content, reason in (
        (b"", "the file is empty"),
        (b"no image at all", "not an image"),
        (b"\x89PNG\r\n\x1a\nbroken", "not an image, or its header is damaged"),
        (SAMPLES["png"][:500], "the file is cut off: its end is missing"),
        (SAMPLES["bmp"][:500], "the file is cut off: its end is missing"),
    ):
        (tmp_path / "a.png").write_bytes(content)
        assert reason in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_cut_anywhere_it_is_refused_or_complete(tmp_path: Path, name: str) -> None:
    content = SAMPLES[name]
    path = tmp_path / "cut.png"
    path.write_bytes(content)
    whole = np.asarray(read_image(path))
    refused = 0
    for length in range(0, len(content), 1 + len(content) // 12):
        path.write_bytes(content[:length])
        try:
            found = np.asarray(read_image(path))
        except ImageReadError:
            refused += 1
        else:
            np.testing.assert_array_equal(found, whole)
    assert refused > 2


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(data=st.data())
@settings(max_examples=int(os.environ.get("HADIS_TEST_PROFILE") == "long") * 395 + 5)
def test_damaged_anywhere_it_is_read_or_refused(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = bytearray(SAMPLES[name])
    places = st.integers(0, len(content) - 1)
    # Half of them in the header, which decides most.
    flips = st.tuples(st.integers(0, 99) | places, st.integers(1, 255))
    for place, bits in data.draw(st.lists(flips, min_size=1, max_size=6)):
        content[min(place, len(content) - 1)] ^= bits
    first, second = sorted(data.draw(st.tuples(places, places)))
    change = data.draw(st.sampled_from(["none", "out", "random"]))
    if change != "none":
        middle = b"" if change == "out" else data.draw(st.binary(max_size=64))
        content[first:second] = middle
    path = tmp_path / "damaged.png"
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image = read_image(path)
        except ImageReadError as error:
            assert repr(str(path)) in str(error) and str(error).isprintable()
        else:
            assert image.mode == "RGB" and len(image.tobytes())
    assert caught == []


def test_too_large_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    with path.open("wb") as file:  # it has holes: takes no room on the disk
        file.write(SAMPLES["webp"])
        file.truncate(1 << 40)
    assert "1,099,511,627,776 bytes" in refusal(path)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "a folder, not a file"),
        (make_fifo, "a pipe or device, not a file"),
        (make_socket, "a pipe or device, not a file"),
        (lambda path: path.symlink_to("nowhere.png"), "No such file or directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "a pipe or device, not a file"),
    ],
)
def test_what_is_no_file_does_not_block(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "x.png"
    make(path)
    reasons: list[str] = []
    thread = threading.Thread(target=lambda: reasons.append(refusal(path)), daemon=True)
    thread.start()
    thread.join(20)
    assert reasons == [reason]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_closed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(SAMPLES["png"])
    path.chmod(0)
    assert refusal(path) == "Permission denied"


def test_names_of_any_kind_stay_on_one_line(tmp_path: Path) -> None:
    for name in ("two\nlines.png", "bell\x07.png", "猫.png", "e\u0301.png", "a'b.png"):
        path = tmp_path / name
        path.write_bytes(b"no image")
        refusal(path)
        path.write_bytes(SAMPLES["png"])
        assert read_image(path).size == (17, 13)
    refusal(tmp_path / ("x" * 5000 + ".png"))
    refusal(tmp_path / "zero\0byte.png")
