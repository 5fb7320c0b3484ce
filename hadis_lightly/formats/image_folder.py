"""An image folder as Hugging Face's ``datasets`` reads it."""

from __future__ import annotations

import csv
from pathlib import Path

from hadis_lightly.atomic import atomic_write
from hadis_lightly.formats.clustered_images import ClusteredImages
from hadis_lightly.formats.image_files import Progress, linked_images

# Otherwise the words test, train or dev anywhere in the path of an image make it a
# split, and images of no split are left out, with all other columns.
_README = """---
configs:
- config_name: default
  data_files: "**"
---
"""


def write_image_folder(
    images: ClusteredImages, folder: Path, progress: Progress | None = None
) -> Path:
    """Writes ``metadata.csv`` and links to the images, below ``images/``.

    The columns are ``file_name``, then those of :meth:`ClusteredImages.columns`. The
    head of ``README.md`` makes all images one split, ``train``.

    Args:
        images: The images.
        folder: An empty folder.
        progress: Called with the images done and their number.

    Returns:
        The table.
    """
    names = linked_images(images.source, folder, progress)
    columns = {"file_name": names, **images.columns()}
    (folder / "README.md").write_text(_README, encoding="utf-8")
    with atomic_write(folder / "metadata.csv") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return folder / "metadata.csv"
