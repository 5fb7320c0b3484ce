"""Which files are images, by their suffix: Pillow's own, and those of extras."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping

from PIL import Image

from hadis_lightly.text import printable

#: Suffixes that every Pillow reads, in lower case.
_SUFFIXES = frozenset([
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
    ".ppm", ".tif", ".tiff", ".webp",
])  # fmt: skip

#: By suffix: the format, by Pillow's name, and what to install to read it.
_OPTIONAL = {
    ".avif": ("AVIF", "pillow>=11.3"),
    ".heic": ("HEIF", "hadis-lightly[heic]"),
    ".heif": ("HEIF", "hadis-lightly[heic]"),
    ".hif": ("HEIF", "hadis-lightly[heic]"),
    ".jxl": ("JXL", "hadis-lightly[jxl]"),
}

# For some others Pillow starts other programs.
_FORMATS = (
    "AVIF", "BMP", "GIF", "HEIF", "JPEG", "JXL", "PNG", "PPM", "TIFF", "WEBP",
)  # fmt: skip

#: Number of suffixes that a line names.
_MAX_SUFFIXES = 8


@functools.cache
def image_formats() -> tuple[str, ...]:
    """The formats that are read here, by Pillow's names."""
    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    with contextlib.suppress(ImportError):
        import pillow_jxl  # noqa: F401
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Suffixes of the files that are read here, in lower case."""
    formats = image_formats()
    found = [suffix for suffix, (name, _) in _OPTIONAL.items() if name in formats]
    return _SUFFIXES.union(found)


def describe_other_files(counts: Mapping[str, int]) -> str:
    """Files that were not looked at, in one line; empty if there are none.

    Args:
        counts: Number of files by suffix in lower case; ``""`` for those without one.

    Example:
        >>> describe_other_files({".txt": 2, ".csv": 1})
        '3 other files not read: 2 .txt, 1 .csv'
    """
    if not counts:
        return ""
    total = sum(counts.values())
    # First what can be read with another package.
    missing = {suffix: _OPTIONAL[suffix][1] for suffix in counts if suffix in _OPTIONAL}
    order = sorted(counts, key=lambda name: (name not in missing, -counts[name], name))
    words = [
        f"{counts[suffix]:,} {printable(suffix) or 'without a suffix'}"
        for suffix in order[:_MAX_SUFFIXES]
    ]
    if rest := sum(counts[suffix] for suffix in order[_MAX_SUFFIXES:]):
        words.append(f"{rest:,} more")
    line = f"{total:,} other file{'s' * (total > 1)} not read: {', '.join(words)}"
    packages = " ".join(f"'{name}'" for name in sorted(set(missing.values())))
    if packages:
        kinds = ", ".join(suffix for suffix in order if suffix in missing)
        line += f" (to read {kinds}: pip install {packages})"
    return line
