"""What a report shows, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hadis_lightly.artifacts.assignments import has_classes

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ReportData:
    """A finished clustering of ``n`` images in ``k`` clusters, ready to be shown.

    Args:
        title: One line, such as ``"HaDis, 12 clusters"``.
        summary: What was run: pairs of a name and a value, in this order.
        settings: All settings, nested; shown folded.
        scores: The scores, in any order; NaN where not defined.
        warnings: Signs that something went wrong, one sentence each.
        left_out: Files that could not be read, each as ``"name: reason"``.
        history: One dictionary per clustering: ``epoch``, ``seconds`` and scores.
        losses: Name of a loss to its epochs and its values.
        warmup_epochs: Where the warm-up ends; marked in the curves if > 0.
        keys: File name of every image.
        labels: Cluster of every image, ``(n,)`` in ``[0, k)``.
        confidence: How clearly each image lies with its cluster, ``(n,)`` in [0, 1].
        distance: Euclidean distance of each embedding from the middle of its cluster,
            ``(n,)``, at least 0; at most 2 unless clusters are of whitened embeddings.
        isolation: Mean distance of each embedding to the nearest of some others drawn
            at random, ``(n,)``, at least 0.
        targets: Class of every image, ``(n,)``; -1 where unknown.
        class_names: Names of the classes, if they have any.
        prototypes: L2-normalised, ``(k, d)``.
        points: The images on a plane, ``(n, 2)``; NaN where they are not on the map.
        read: Gives the image of a row; an ``OSError`` becomes a grey placeholder.
        gone: Images that have no file any more, ``(n,)``; ``None`` if that is unknown.
        replaced: A line that says which images are others now; empty if none are.
        read_small: If given, takes its place: gives the image of a row with its shorter
            side reduced to a number of pixels, and its own width and height.
        choice: What the number of clusters was chosen by, see
            :meth:`~hadis_lightly.cluster.NClustersChoice.to_dict`; ``None`` if it was
            given.
        outlier: Which images are like no others, ``(n,)``, 0 or 1.
        names: Names that the clusters have from the start, as ``names.json`` has them.
        halves: Which half of its cluster each image is in, ``(n,)``, 0 or 1, where
            clusters can be split in two.
        tree: Which clusters join, see
            :meth:`~hadis_lightly.cluster.ClusterTree.describe`; ``None`` to leave the
            drawing out.

    Raises:
        ValueError: if lengths or shapes do not fit, or a value is out of its range.

    Example:
        >>> data = ReportData(
        ...     title="two", summary=[], settings={}, scores={}, warnings=[],
        ...     left_out=[], history=[], losses={}, warmup_epochs=0,
        ...     keys=["a.png", "b.png"], labels=np.array([0, 1]),
        ...     confidence=np.ones(2), distance=np.zeros(2),
        ...     isolation=np.ones(2),
        ...     targets=np.array([-1, -1]), class_names=None, prototypes=np.eye(2),
        ...     points=np.zeros((2, 2)), read=lambda row: Image.new("L", (8, 8)),
        ... )
        >>> data.n_images, data.n_clusters, data.has_targets
        (2, 2, False)
    """

    title: str
    summary: Sequence[tuple[str, str]]
    settings: Mapping[str, Any]
    scores: Mapping[str, float]
    warnings: Sequence[str]
    left_out: Sequence[str]
    history: Sequence[Mapping[str, float]]
    losses: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    warmup_epochs: int
    keys: Sequence[str]
    labels: IntArray
    confidence: FloatArray
    distance: FloatArray
    isolation: FloatArray
    targets: IntArray
    class_names: Sequence[str] | None
    prototypes: FloatArray
    points: FloatArray
    read: Callable[[int], Image.Image]
    gone: npt.NDArray[np.bool_] | None = None
    replaced: str = ""
    read_small: Callable[[int, int], tuple[Image.Image, tuple[int, int]]] | None = None
    tree: Mapping[str, Sequence[Any]] | None = None
    choice: Mapping[str, Any] | None = None
    halves: IntArray | None = None
    outlier: IntArray | None = None
    names: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        n = self.n_images
        if n == 0:
            raise ValueError("keys must name at least one image, got none")
        shape = self.prototypes.shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"prototypes must have the shape (k, d), got {shape}")
        n_classes = np.inf if self.class_names is None else len(self.class_names)
        _check_shape("points", self.points, (n, 2))
        for name, low, high in (
            ("labels", 0, self.n_clusters - 1),
            ("targets", -1, n_classes - 1),
            ("confidence", 0, 1),
            ("distance", 0, np.inf),
            ("isolation", 0, np.inf),
        ):
            _check_shape(name, getattr(self, name), (n,))
            _check_range(name, getattr(self, name), low, high)
        _check_range("prototypes", self.prototypes, -1, 1)
        for name, column in (("halves", self.halves), ("outlier", self.outlier)):
            if column is not None:
                _check_shape(name, column, (n,))
                _check_range(name, column, 0, 1)
        if self.tree is not None and len(self.tree["merges"]) != self.n_clusters - 1:
            raise ValueError(
                f"tree must have one merge fewer than the {self.n_clusters} clusters, "
                f"got {len(self.tree['merges'])}"
            )
        for record in self.history:
            if "epoch" not in record:
                raise ValueError(f"history must name the epoch, got {dict(record)}")
        for name, (epochs, values) in self.losses.items():
            if len(epochs) != len(values):
                raise ValueError(
                    f"losses must have one value per epoch, got {len(epochs)} epochs "
                    f"and {len(values)} values of {name}"
                )

    @property
    def n_images(self) -> int:
        """Number of images n."""
        return len(self.keys)

    @property
    def n_clusters(self) -> int:
        """Number of clusters k."""
        return len(self.prototypes)

    @property
    def has_targets(self) -> bool:
        """Whether two classes or more are known: with one every clustering agrees."""
        return has_classes(self.targets)

    @property
    def n_labelled(self) -> int:
        """Number of images of known class."""
        return int((self.targets >= 0).sum())

    def class_name(self, target: int) -> str:
        """Name of a class; its number where it has no name."""
        return str(target) if self.class_names is None else self.class_names[target]


def _check_shape(name: str, values: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(
            f"{name} must have the shape {shape}, one row per key, got {values.shape}"
        )


def _check_range(name: str, values: npt.NDArray[Any], low: float, high: float) -> None:
    is_integer = values.dtype.kind in "iu"
    if name in ("labels", "targets", "halves", "outlier") and not is_integer:
        raise ValueError(f"{name} must be integers, got {values.dtype}")
    # Rounding may carry a cosine, and so a distance, a little over its end.
    slack = 0 if is_integer else 1e-3
    wrong = ~((values >= low - slack) & (values <= high + slack))
    if wrong.any():
        raise ValueError(f"{name} must lie in [{low}, {high}], got {values[wrong][0]}")
