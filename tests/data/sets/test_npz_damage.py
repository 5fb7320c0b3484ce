"""Damaged, hostile and merely odd npz files."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hadis_lightly.data import ArraySource, DataError, load_npz

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(3, 4, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 1, -1])


def npz_bytes(compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


WHOLE = [
    npz_bytes(flag, images=IMAGES, labels=LABELS, class_names=np.array(["a", "b"]))
    for flag in (False, True)
]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_npz(path)
    message = str(caught.value)
    assert repr(str(path)) in message
    assert message.isprintable()
    return message


def with_header(path: Path, shape: tuple[int, ...], descr: str, data: bytes) -> Path:
    """An archive whose array claims to have the shape."""
    entry = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(entry, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", entry.getvalue() + data)
    return path


@pytest.mark.parametrize("content", WHOLE)
def test_cut_anywhere(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.npz"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        refusal(path)


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            source = load_npz(path)
        except DataError as error:
            assert repr(str(path)) in str(error)
            assert str(error).isprintable()
        else:
            assert isinstance(source, ArraySource)
            assert source.images.dtype == np.uint8
            assert len(source.images) == len(source.targets) == len(source.keys)
            assert source[0][0].size == (source.images.shape[2], source.images.shape[1])
    assert caught == []


@given(data=st.data())
def test_flipped_bits(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(WHOLE)))
    places = st.integers(0, len(content) - 1)
    flips = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4)
    for place, bits in data.draw(flips):
        content[place] ^= bits
    read_or_refuse(tmp_path / "set.npz", bytes(content))


@given(
    start=st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY\x01\x00"]),
    rest=st.binary(max_size=200),
)
def test_random_bytes(tmp_path: Path, start: bytes, rest: bytes) -> None:
    read_or_refuse(tmp_path / "set.npz", start + rest)


@given(header=st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.hex()))
def test_random_headers(tmp_path: Path, header: str) -> None:
    text = header.encode("latin-1", "replace") + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"abc"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", content)
    read_or_refuse(tmp_path / "set.npz", file.getvalue())


@pytest.mark.parametrize(
    ("shape", "descr"),
    [
        ((10**6, 10**3, 10**3, 3), "|u1"),
        ((2**40, 2**40, 2**40, 3), "|u1"),
        ((2**31, 2**31, 4, 1), "|u1"),  # as a product of int64 it would be 0
        ((3, 4, 5, 3), "|S1000000"),
        ((-3, 4, 5, 3), "|u1"),
    ],
)
def test_claimed_shape_is_compared_with_the_file(
    tmp_path: Path, shape: tuple[int, ...], descr: str
) -> None:
    path = with_header(tmp_path / "set.npz", shape, descr, IMAGES.tobytes())
    assert "'images'" in (message := refusal(path))
    assert "is damaged" in message


def test_array_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    path = with_header(tmp_path / "set.npz", (1 << 20, 1 << 14, 1 << 14, 1), "|u1", b"")
    content = bytearray(path.read_bytes())
    # The list of contents claims as much: 4 bytes of it hold at most 4 GiB, so that of
    # zip64 is written by hand.
    name = b"images.npy"
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    size = (1 << 48) + 128
    extra = b"\x01\x00\x08\x00" + size.to_bytes(8, "little")
    entry = content[start:end]
    entry[24:28] = b"\xff" * 4
    entry[30:32] = len(extra).to_bytes(2, "little")
    tail = content[end:]
    tail[12:16] = (len(entry) + len(extra)).to_bytes(4, "little")
    assert entry.endswith(name)
    path.write_bytes(bytes(content[:start] + entry + extra + tail))
    message = refusal(path)
    assert "'images'" in message
    assert "takes 2.62e+05 GiB of memory, but only" in message


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.full((2, 3, 3), np.nan)}, "must be uint8 .* got float64"),
        ({"images": IMAGES.astype(object)}, "'images' .* holds Python objects"),
        ({"images": IMAGES.astype(np.uint16)}, "must be uint8 .* got uint16"),
        ({"images": np.zeros((2, 3, 0, 3), np.uint8)}, "none of them 0"),
        ({"images": np.uint8(3)}, "must have shape"),
        ({"images": np.zeros(3, [("r", "u1"), ("g", "u1")])}, "must be uint8"),
        (
            {"images": IMAGES, "labels": np.array([0, 1, 2**64 - 1], np.uint64)},
            "at most 2,147,483,647, got 18446744073709551615",
        ),
        ({"images": IMAGES, "labels": np.array([np.nan] * 3)}, "must be integers"),
        ({"images": IMAGES, "labels": LABELS.astype(object)}, "holds Python objects"),
        ({"images": IMAGES, "labels": np.array([True] * 3)}, "integers, got bool"),
        ({"images": IMAGES, "labels": np.arange(0)}, r"shape \(3,\).* got \(0,\)"),
        (
            {"images": IMAGES, "class_names": np.array([b"\xff"])},
            "'class_names' .* not UTF-8",
        ),
    ],
)
def test_wrong_content(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(npz_bytes(**arrays))
    with pytest.raises(DataError, match=message):
        load_npz(path)
    refusal(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_fortran_order_and_foreign_bytes(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "set.npz"
    images = np.asfortranarray(IMAGES)
    labels = LABELS.astype(">i2")
    path.write_bytes(npz_bytes(compressed, images=images, labels=labels))
    path.chmod(0o400)
    source = load_npz(path)
    np.testing.assert_array_equal(source.images, IMAGES)
    assert source.images.flags.c_contiguous
    assert source.images.flags.writeable  # PyTorch warns where it is not
    assert source.targets.tolist() == LABELS.tolist()
    assert source.targets.dtype == np.int64


def test_entry_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    for name in ("images", "images.npy"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"text")
        assert "'images'" in refusal(path)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
def test_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "set.npz")
    assert refusal(tmp_path / "set.npz").endswith("is no file")


@pytest.mark.parametrize("name", ["~nobody-of-that-name", "x" * 5000, "a\0b"])
def test_names_of_no_file(name: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_npz(name)
