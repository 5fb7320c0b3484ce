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

#: By suffix: the format, by Pillow's name, and the package that reads it.
_OPTIONAL = {
    ".avif": ("AVIF", "'pillow>=11.3'"),
    ".heic": ("HEIF", "pillow-heif"),
    ".heif": ("HEIF", "pillow-heif"),
    ".hif": ("HEIF", "pillow-heif"),
    ".jxl": ("JXL", "pillow-jxl-plugin"),
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
    order = sorted(
        counts, key=lambda name: (name not in _OPTIONAL, -counts[name], name)
    )
    words = [
        f"{counts[suffix]:,} {printable(suffix) or 'without a suffix'}"
        for suffix in order[:_MAX_SUFFIXES]
    ]
    if rest := sum(counts[suffix] for suffix in order[_MAX_SUFFIXES:]):
        words.append(f"{rest:,} more")
    return f"{total:,} other file{'s' * (total > 1)} not read: {', '.join(words)}"


def missing_packages(counts: Mapping[str, int]) -> list[str]:
    """A line for each package that would read some of the files not looked at.

    Args:
        counts: As for :func:`describe_other_files`.

    Example:
        >>> missing_packages({".txt": 2, ".heic": 7})
        ['7 files are .heic and were not read: pip install pillow-heif']
    """
    suffixes: dict[str, list[str]] = {}
    for suffix in sorted(_OPTIONAL.keys() & counts.keys()):
        suffixes.setdefault(_OPTIONAL[suffix][1], []).append(suffix)
    lines = []
    for package, names in suffixes.items():
        n, kinds = sum(counts[name] for name in names), " or ".join(names)
        files = f"1 file is {kinds} and was"
        if n > 1:
            files = f"{n:,} files are {kinds} and were"
        lines.append(f"{files} not read: pip install {package}")
    return lines
