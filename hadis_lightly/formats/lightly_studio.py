"""Lightly Studio: clusters as tags and metadata of the images of a dataset."""

from __future__ import annotations

import os
from typing import Any

from hadis_lightly.formats.clustered_images import ClusteredImages
from hadis_lightly.formats.image_files import user_file


def add_to_lightly_studio(images: ClusteredImages, dataset: Any) -> int:
    """Gives images of a Lightly Studio dataset their clusters.

    Each gets its label as a tag, and all of
    :meth:`ClusteredImages.columns` as metadata. Images are recognised by their path,
    also through links; other images of the dataset stay as they are. A second call,
    with other names, adds its tags to those of the first.

    Args:
        images: The images, such as those of a run by :func:`images_of_run`.
        dataset: An ``ImageDataset`` of ``lightly_studio``.

    Returns:
        The number of images of the dataset that got a cluster.

    Raises:
        ValueError: If there is none.

    Example:
        >>> dataset = ls.ImageDataset.load()  # doctest: +SKIP
        >>> images = images_of_run(load_run("runs/photos"))  # doctest: +SKIP
        >>> add_to_lightly_studio(images, dataset)  # doctest: +SKIP
    """
    from lightly_studio.core.dataset_query import ImageSampleField

    columns = images.columns()
    rows: dict[str, int] = {}
    for row in range(len(images)):
        path = user_file(images.source, row)
        if path is not None:
            rows[os.path.realpath(path)] = row
    files = ((x.sample_id, os.path.realpath(x.file_path_abs)) for x in dataset)
    found = [(sample, rows[path]) for sample, path in files if path in rows]
    if not found:
        raise ValueError(
            f"none of the {len(rows):,} image files of the run is in the dataset."
        )
    dataset.update_metadata(
        [
            (sample, {name: values[row] for name, values in columns.items()})
            for sample, row in found
        ]
    )
    field = ImageSampleField.metadata["label"]
    for name in dict.fromkeys(columns["label"][row] for _, row in found):
        dataset.match(field == name).add_tag(name)
    return len(found)
