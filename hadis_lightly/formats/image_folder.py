"""An image folder as Hugging Face's ``datasets`` reads it."""

from __future__ import annotations

import csv
from pathlib import Path

from hadis_lightly.atomic import atomic_write
from hadis_lightly.formats.clustered_images import ClusteredImages
from hadis_lightly.formats.image_files import Progress, linked_images


def write_image_folder(
    images: ClusteredImages, folder: Path, progress: Progress | None = None
) -> Path:
    """Writes ``metadata.csv`` and links to the images, below ``images/``.

    The columns are ``file_name``, then those of :meth:`ClusteredImages.columns`.

    Args:
        images: The images.
        folder: An empty folder.
        progress: Called with the images done and their number.

    Returns:
        The table.
    """
    names = linked_images(images.source, folder, progress)
    columns = {"file_name": names, **images.columns()}
    with atomic_write(folder / "metadata.csv") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return folder / "metadata.csv"
