"""Writes a table of predictions."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

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
from hadis_lightly.data.files.listing import AnyPath
from hadis_lightly.data.files.pixels import PixelRange
from hadis_lightly.prediction.npy_rows import NpyRows
from hadis_lightly.system import available_cores
from hadis_lightly.text import printable

if TYPE_CHECKING:
    from torch import Tensor

    from hadis_lightly.prediction.naming import Labelling


class Predictor(Protocol):
    """A :class:`ClusterPredictor` or an :class:`OnnxPredictor`."""

    num_channels: int
    decode_size: int

    def transform_plain(self, image: Image.Image) -> Any:
        """A tensor or array of what ``read_image`` returns."""

    def predict_plain(self, images: list[Any]) -> Any:
        """Labels, confidence, distance, embeddings and outliers of these."""


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
    predictor: Predictor,
    images: Iterable[StreamedImage[Any]],
    path: Path,
    *,
    batch_size: int = 256,
    relabel: Callable[[Tensor, Tensor], Tensor] | None = None,
    labelling: Labelling | None = None,
    embeddings: Path | None = None,
    left_out: Path | None = None,
    sort: Callable[..., None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> PredictionSummary:
    """Writes ``file, cluster, confidence, distance, outlier``, a batch at a time.

    With a labelling, ``label`` follows the cluster.
    The table is written once it is complete.

    Args:
        predictor: The predictor.
        images: What the predictor's transform makes of images, or problems.
        path: The table, CSV.
        batch_size: Images at a time.
        relabel: Makes the labels to write from those of the run and the embeddings,
            such as those of a level.
        labelling: Labels by names of the clusters.
        embeddings: File for the embeddings, float16 ``(n, d)`` in the order of the
            table, as :func:`numpy.load` reads it.
        left_out: File to write the unreadable files to, one on a line, if there are
            any; an earlier one is replaced.
        sort: Called with every image and its cluster, and with a labelling its label.
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
            found = predictor.predict_plain([image.content for image in batch])
            if relabel is not None:
                found = found._replace(labels=relabel(found.labels, found.embeddings))
            if rows_file is not None:
                rows_file.append(np.asarray(found.embeddings, np.float16))
            columns = (
                found.labels,
                found.confidence,
                found.distance,
                np.asarray(found.outlier, np.int64),
            )
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
                    sort(image, label, *name)
            summary.num_images += len(batch)
            if progress is not None:
                progress(summary.num_images + summary.num_left_out)
        if summary.num_images == 0:
            raise DataError(f"none of the {summary.num_left_out:,} files can be read.")
        if rows_file is not None:
            rows_file.finish()
    return summary


def _readable(
    images: Iterable[StreamedImage[Any]],
    summary: PredictionSummary,
    left_out: Path | None,
) -> Iterator[StreamedImage[Any]]:
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

    images: Iterable[StreamedImage[Any]]
    """What the predictor makes of them, and what was left out."""
    total: int
    """Number of images."""
    description: str
    """What they are, in one line."""
    pixels: PixelRange
    """Range of the pixels of those that have been read."""
    warnings: tuple[str, ...] = ()
    """See :class:`FolderSource`."""


def images_to_predict(
    predictor: Predictor,
    source: str,
    path: AnyPath | Sequence[AnyPath] | None,
    *,
    follow_links: bool = False,
) -> ImageStream:
    """The images of a source, as a stream of what the predictor makes of them.

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

    def make(image: Image.Image) -> Any:
        pixels.add(image)
        return predictor.transform_plain(image)

    images = stream_images(found, make, available_cores())
    if not isinstance(found, FolderSource):
        return ImageStream(images, len(found), found.description, pixels)
    left_out = [StreamedImage[Any](p.key, "", p) for p in found.left_out]
    every = chain(left_out, images)
    return ImageStream(every, len(found), found.description, pixels, found.warnings)
