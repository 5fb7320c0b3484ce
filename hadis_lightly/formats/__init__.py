"""A run's images, clusters and embeddings in the formats of other tools.

Example::

    run = load_run("runs/photos")
    export_clusters(images_of_run(run), "fiftyone", "for_fiftyone")
"""

from __future__ import annotations

from hadis_lightly.formats.clustered_images import ClusteredImages, images_of_run
from hadis_lightly.formats.export import FORMATS, export_clusters
from hadis_lightly.formats.lightly_studio import add_to_lightly_studio

__all__ = [
    "FORMATS",
    "ClusteredImages",
    "add_to_lightly_studio",
    "export_clusters",
    "images_of_run",
]
