"""A run as a folder that another tool opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hadis_lightly.formats.clustered_images import ClusteredImages
from hadis_lightly.formats.fiftyone import write_fiftyone
from hadis_lightly.formats.image_files import Progress
from hadis_lightly.formats.image_folder import write_image_folder
from hadis_lightly.formats.label_studio import write_label_studio
from hadis_lightly.formats.parquet import write_parquet
from hadis_lightly.formats.projector import write_projector
from hadis_lightly.own_output import new_folder

#: By the name of the format: writes it to an empty folder, and returns its main file.
FORMATS: dict[str, Callable[[ClusteredImages, Path, Progress | None], Path]] = {
    "fiftyone": write_fiftyone,
    "label-studio": write_label_studio,
    "imagefolder": write_image_folder,
    "tensorboard": write_projector,
    "parquet": write_parquet,
}


def export_clusters(
    images: ClusteredImages,
    to: str,
    out: str | Path,
    *,
    progress: Progress | None = None,
) -> Path:
    """Writes the images and their clusters for another tool.

    Args:
        images: The images, such as those of a run by :func:`images_of_run`.
        to: The format: ``fiftyone``, ``label-studio``, ``imagefolder``,
            ``tensorboard`` or ``parquet``.
        out: Folder to make; if it exists, a number is added to its name.
        progress: Called with the images done and their number.

    Returns:
        The main file, in the folder.

    Raises:
        ValueError: If there is no such format.
        DataError: If an image cannot be read.
        ImportError: If ``to`` is ``parquet`` and pyarrow is not installed.
    """
    if to not in FORMATS:
        raise ValueError(f"to must be one of {', '.join(FORMATS)}, got {to!r}")
    with new_folder(Path(out)) as folder:
        return FORMATS[to](images, folder, progress)
