"""Writes a table of predictions, and sorts image files into folders."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hadis_lightly.atomic import atomic_write
from hadis_lightly.data import (
    DataError,
    FolderSource,
    ImageProblem,
    StreamedImage,
    load_source,
    stream_images,
)
from hadis_lightly.data.errors import MAX_NAMES
from hadis_lightly.data.files.formats import image_formats
from hadis_lightly.data.files.listing import AnyPath
from hadis_lightly.data.files.pixels import PixelRange
from hadis_lightly.data.files.reader import open_file
from hadis_lightly.data.files.tables import containing_file
from hadis_lightly.own_output import mark_own, new_file
from hadis_lightly.prediction.naming import Labelling
from hadis_lightly.prediction.npy_rows import NpyRows
from hadis_lightly.prediction.predictor import ClusterPredictor
from hadis_lightly.system import available_cores
from hadis_lightly.text import describe_error, printable


@dataclass
class PredictionSummary:
    """Counts of a table of predictions."""

    num_images: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    """Images in each cluster."""
    num_left_out: int = 0
    """Unreadable files."""
    left_out: Path | None = None
    """File that lists them, if there are any."""
    problems: list[ImageProblem] = field(default_factory=list)
    """The first few of them."""
    confidence_sum: float = 0.0

    @property
    def mean_confidence(self) -> float:
        """Mean over all images; 0 if there are none."""
        return self.confidence_sum / max(1, self.num_images)


def predict_to_table(
    predictor: ClusterPredictor,
    images: Iterable[StreamedImage[Tensor]],
    path: Path,
    *,
    batch_size: int = 256,
    relabel: Callable[[Tensor, Tensor], Tensor] | None = None,
    labelling: Labelling | None = None,
    embeddings: Path | None = None,
    left_out: Path | None = None,
    sort: Callable[[StreamedImage[Tensor], int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> PredictionSummary:
    """Writes ``file, cluster, confidence, distance, outlier``, a batch at a time.

    With a labelling, ``label`` follows the cluster.
    The table is written once it is complete.

    Args:
        predictor: The predictor.
        images: Tensors by the predictor's transform, or problems.
        path: The table, CSV.
        batch_size: Images at a time.
        relabel: Makes the labels to write from those of the run and the embeddings,
            such as those of a level.
        labelling: Labels by names of the clusters.
        embeddings: File for the embeddings, float16 ``(n, d)`` in the order of the
            table, as :func:`numpy.load` reads it.
        left_out: File to write the unreadable files to, one on a line, if there are
            any; an earlier one is replaced.
        sort: Called with every image and its cluster.
        progress: Called with the number of images done.

    Raises:
        DataError: If no image can be read.
    """
    summary = PredictionSummary()
    readable = _readable(images, summary, left_out)
    arrays = nullcontext() if embeddings is None else atomic_write(embeddings, "wb")
    with atomic_write(path) as file, arrays as array_file:
        rows_file = None if array_file is None else NpyRows(array_file)
        writer = csv.writer(file)
        named = [] if labelling is None else ["label"]
        writer.writerow(
            ["file", "cluster", *named, "confidence", "distance", "outlier"]
        )
        while batch := list(islice(readable, batch_size)):
            tensors = [image.content for image in batch]
            found = predictor.predict(torch.stack(tensors), batch_size)  # type: ignore[arg-type]
            if relabel is not None:
                found = found._replace(labels=relabel(found.labels, found.embeddings))
            if rows_file is not None:
                rows_file.append(found.embeddings.numpy().astype(np.float16))
            columns = [*found[:3], found.outlier.int()]
            names: list[list[str]] = [[] for _ in batch]
            if labelling is not None:
                names = [[name] for name in labelling([i.key for i in batch], found)]
            rows = zip(
                batch, names, *(column.tolist() for column in columns), strict=True
            )
            for image, name, label, confidence, distance, outlier in rows:
                measures = f"{confidence:.4f}", f"{distance:.4f}", outlier
                writer.writerow([image.key, label, *name, *measures])
                summary.sizes[label] += 1
                summary.confidence_sum += confidence
                if sort is not None:
                    sort(image, label)
            summary.num_images += len(batch)
            if progress is not None:
                progress(summary.num_images + summary.num_left_out)
        if summary.num_images == 0:
            raise DataError(f"none of the {summary.num_left_out:,} files can be read.")
        if rows_file is not None:
            rows_file.finish()
    return summary


def _readable(
    images: Iterable[StreamedImage[Tensor]],
    summary: PredictionSummary,
    left_out: Path | None,
) -> Iterator[StreamedImage[Tensor]]:
    """The images that could be read; counts the others and lists them in a file."""
    for image in images:
        problem = image.content
        if not isinstance(problem, ImageProblem):
            yield image
            continue
        if left_out is not None:
            summary.left_out = left_out
            mode = "a" if summary.num_left_out else "w"
            with left_out.open(mode, encoding="utf-8") as file:
                file.write(f"{printable(problem.key)}: {problem.reason}\n")
        summary.num_left_out += 1
        if len(summary.problems) < MAX_NAMES:
            summary.problems.append(problem)


class ImageStream(NamedTuple):
    """Images to predict."""

    images: Iterable[StreamedImage[Tensor]]
    """The predictor's tensors, and what was left out."""
    total: int
    """Number of images."""
    description: str
    """What they are, in one line."""
    pixels: PixelRange
    """Range of the pixels of those that have been read."""
    warnings: tuple[str, ...] = ()
    """See :class:`FolderSource`."""


def images_to_predict(
    predictor: ClusterPredictor,
    source: str,
    path: AnyPath | Sequence[AnyPath] | None,
    *,
    follow_links: bool = False,
) -> ImageStream:
    """The images of a source as a stream of the predictor's tensors.

    The arguments are those of :func:`~hadis_lightly.data.load_source`.

    Raises:
        DataError: If there are no images.
    """
    found = load_source(
        source,
        path,
        num_channels=predictor.num_channels,
        on_error="skip",
        follow_links=follow_links,
        min_side=predictor.decode_size,
    )
    pixels = PixelRange()

    def make(image: Image.Image) -> Tensor:
        pixels.add(image)
        return predictor.transform_plain(image)

    images = stream_images(found, make, available_cores())
    if not isinstance(found, FolderSource):
        return ImageStream(images, len(found), found.description, pixels)
    left_out = [StreamedImage[Tensor](p.key, "", p) for p in found.left_out]
    every = chain(left_out, images)
    return ImageStream(every, len(found), found.description, pixels, found.warnings)


class SortIntoFolders:
    """Puts files into one folder per cluster, as links or copies.

    Args:
        folder: A folder that does not exist yet.
        n_clusters: Number of clusters, for folder names that sort by number.
        by: ``link`` or ``copy``. Where links cannot be made, files are copied, and so
            are images in tables; :attr:`no_links` then says why.

    Raises:
        ValueError: If the folder exists.
    """

    def __init__(self, folder: Path, n_clusters: int, by: str = "link") -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()  # of two commands one succeeds
        except FileExistsError:
            raise ValueError(
                f"sort_into is {str(folder)!r}, which exists already: choose another "
                "folder, or remove it if an unfinished command left it."
            ) from None
        mark_own(folder)
        self.folder = folder
        self.by = by
        self.no_links = ""
        self._width = len(str(n_clusters - 1))

    def __call__(self, image: StreamedImage[Tensor], label: int) -> None:
        """Puts a file into the folder of its cluster, below its own subfolders."""
        place = self.folder / f"cluster_{label:0{self._width}}" / image.key
        place.parent.mkdir(parents=True, exist_ok=True)
        if containing_file(image.path) != image.path:  # the row of a table
            if self.by == "link":
                self.no_links = "images in tables"
            _write_row(image.path, place)
            return
        if self.by == "link":
            try:
                place.symlink_to(os.path.abspath(image.path))
                return
            except (OSError, NotImplementedError) as error:
                # No right to (Windows), or no links on such a disk (exFAT).
                self.by, self.no_links = "copy", describe_error(error)
        with new_file(place) as copy:
            shutil.copy2(image.path, copy.unfinished)


def _write_row(row: str, place: Path) -> None:
    """Writes the image in the row of a table, with a suffix by its format."""
    with open_file(row) as file:
        kind = "tiff"  # all that Pillow cannot open
        with suppress(UnidentifiedImageError):
            kind = str(Image.open(file, formats=image_formats()).format).lower()
        file.seek(0)
        name = place if place.suffix else place.with_suffix(f".{kind}")
        with new_file(name) as copy:
            copy.unfinished.write_bytes(file.read())
