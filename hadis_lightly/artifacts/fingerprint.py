"""What tells one set of images from another: names, classes, sizes, some contents."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hadis_lightly.data import FolderSource, ImageSource
from hadis_lightly.data.files.reader import open_file
from hadis_lightly.data.files.tables import containing_file
from hadis_lightly.text import printable

# Images to look into: files have to be opened, pixels lie in memory.
_MAX_FILES, _MAX_IN_MEMORY = 256, 10_000
_NUM_BYTES = 2**16


def fingerprint(source: ImageSource) -> str:
    """A hash of the names and classes of a set."""
    digest = hashlib.sha256(source.targets.tobytes())
    for key in source.keys:
        digest.update(key.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def sample_contents(source: ImageSource) -> dict[str, Any]:
    """Names, sizes and a sample of the contents of a set, as plain data.

    Of a folder: the size of every file, and a checksum of the first 64 KiB of at most
    256 files, spread evenly. Of a set in memory: likewise of all pixels of at most
    10,000 images.
    """
    n, is_folder = len(source), isinstance(source, FolderSource)
    most = _MAX_FILES if is_folder else _MAX_IN_MEMORY
    rows = np.linspace(0, n - 1, min(n, most)).astype(np.int64)
    sizes = [_size(source, row) for row in range(n)] if is_folder else []
    return {
        "keys": "\0".join(source.keys),
        "sizes": torch.tensor(sizes, dtype=torch.int64),
        "rows": torch.from_numpy(rows),
        "checksums": torch.tensor([_checksum(source, row) for row in rows.tolist()]),
    }


def first_difference(made_from: Mapping[str, Any], source: ImageSource) -> str:
    """The first difference of a set to the one that a sample was taken from.

    Args:
        made_from: What :func:`sample_contents` returned.
        source: The set that is here.

    Returns:
        Which image, and what differs; empty if nothing does.
    """
    theirs, ours = made_from["keys"].split("\0"), source.keys
    before, here = set(theirs), set(ours)
    for key in ours:
        if key not in before:
            return f"'{printable(key)}' is new"
    for key in theirs:
        if key not in here:
            return f"'{printable(key)}' is missing"
    if theirs != list(ours):
        return "they come in another order"
    for row, size in enumerate(made_from["sizes"].tolist()):
        now = _size(source, row)
        if now != size:
            assert isinstance(source, FolderSource)
            name = printable(os.path.relpath(_file(source, row), source.root))
            return f"'{name}' had {size:,} bytes and now has {now:,}"
    rows, checksums = made_from["rows"].tolist(), made_from["checksums"].tolist()
    for row, checksum in zip(rows, checksums, strict=True):
        if _checksum(source, row) != checksum:
            return f"'{printable(ours[row])}' has other contents"
    return ""


def gone_files(source: ImageSource) -> NDArray[np.bool_]:
    """Which images of a folder have no file any more, ``(n,)``; of other sets none."""
    if not isinstance(source, FolderSource):
        return np.zeros(len(source), np.bool_)
    return np.array([_size(source, row) < 0 for row in range(len(source))], np.bool_)


def replaced_images(made_from: Mapping[str, Any], source: ImageSource) -> list[int]:
    """Rows of the images that are there, but not those that a sample was taken from.

    Args:
        made_from: What :func:`sample_contents` returned.
        source: The images by the same keys, in the same order.
    """
    rows = set()
    for row, size in enumerate(made_from["sizes"].tolist()):
        if _size(source, row) not in (size, -1):
            rows.add(row)
    samples = zip(
        made_from["rows"].tolist(), made_from["checksums"].tolist(), strict=True
    )
    rows |= {row for row, value in samples if _checksum(source, row) not in (value, -1)}
    return sorted(rows)


def _file(source: ImageSource, row: int) -> str:
    """The file that holds an image."""
    assert isinstance(source, FolderSource)
    return containing_file(source.path(row))


def _size(source: ImageSource, row: int) -> int:
    """Bytes of a file; -1 if it is gone."""
    try:
        return os.stat(_file(source, row)).st_size
    except OSError:
        return -1


def _checksum(source: ImageSource, row: int) -> int:
    """Checksum of the beginning of a file, or of the pixels; -1 if it is gone."""
    if not isinstance(source, FolderSource):
        pixels = np.asarray(source.read(row))
        return zlib.crc32(repr(pixels.shape).encode() + pixels.tobytes())
    try:
        with open_file(source.path(row)) as file:
            return zlib.crc32(file.read(_NUM_BYTES))
    except (OSError, ValueError):
        return -1
