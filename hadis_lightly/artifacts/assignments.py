"""``assignments.csv``: the cluster of every image, and how it lies in it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hadis_lightly.atomic import atomic_write
from hadis_lightly.cluster import ClusterTree
from hadis_lightly.data import Duplicates, ImageSource
from hadis_lightly.training.clustering_callback import ClusteringCallback

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

_FILE = "assignments.csv"
_MEASURES = ("confidence", "distance", "isolation")


@dataclass(frozen=True)
class Assignments:
    """The table of a run, in the order of its images."""

    keys: list[str]
    """Paths relative to the folder, or positions in the set."""
    labels: IntArray
    """Cluster, ``(n,)``."""
    confidence: FloatArray
    """Softmax over all clusters, or probability by a cluster head, ``(n,)``."""
    distance: FloatArray
    """Euclidean distance from the middle of the cluster, ``(n,)``: 0 to 2, or without
    an upper bound where clusters are of whitened embeddings."""
    isolation: FloatArray
    """Mean distance to the nearest of some random others, ``(n,)``, at least 0."""
    outlier: BoolArray | None = None
    """Whether it is more isolated than almost all, ``(n,)``; None in tables of earlier
    versions."""
    targets: IntArray | None = None
    """Class number, -1 where unknown, ``(n,)``; None if none is known."""
    levels: tuple[IntArray, ...] = ()
    """Cluster at each level of the tree, ``(n,)`` each, the coarsest first; none in
    tables of earlier versions."""

    def __len__(self) -> int:
        return len(self.keys)


def has_classes(targets: npt.ArrayLike) -> bool:
    """Whether two classes or more are known: with fewer every clustering agrees.

    Args:
        targets: Classes, ``(n,)``; -1 where unknown.
    """
    known = np.unique(targets)
    return bool((known >= 0).sum() >= 2)


def assignments_of(
    source: ImageSource, callback: ClusteringCallback[Any]
) -> Assignments:
    """The table of the last clustering, with the copies that were left out."""
    targets, isolation = callback.targets_, callback.isolation_
    labels, embeddings = callback.labels_.cpu(), callback.embeddings_
    tree = callback.tree_
    table = Assignments(
        keys=list(source.keys),
        labels=labels.numpy(),
        confidence=callback.confidence_.cpu().numpy(),
        distance=callback.distance_.cpu().numpy(),
        isolation=isolation.numpy(),
        outlier=(isolation > callback.outliers_.threshold).numpy(),
        targets=targets.numpy() if bool((targets >= 0).any()) else None,
        levels=() if tree is None else _levels(tree, labels, embeddings),
    )
    return table if source.folded is None else unfolded(table, source.folded)


def unfolded(table: Assignments, copies: Duplicates) -> Assignments:
    """The table with a row for every copy, which has the values of its first image.

    Classes are the copies' own.
    """
    targets = copies.targets if bool((copies.targets >= 0).any()) else None
    names = ("labels", *_MEASURES, "outlier")
    arrays = {name: copies.unfold(getattr(table, name)) for name in names}
    levels = tuple(map(copies.unfold, table.levels))
    return Assignments(keys=list(copies.keys), targets=targets, levels=levels, **arrays)


def _levels(
    tree: ClusterTree, labels: Tensor, embeddings: Tensor
) -> tuple[IntArray, ...]:
    levels = range(1, len(tree.levels) + 1)
    return tuple(tree.assign(labels, embeddings, i).numpy() for i in levels)


def write_assignments(folder: Path, assignments: Assignments) -> None:
    """Writes ``assignments.csv``, with a column of classes if any is known.

    The columns of the levels, ``level_1`` and so on, come last.
    """
    columns: dict[str, list[Any]] = {
        "key": assignments.keys,
        "cluster": assignments.labels.tolist(),
    }
    for name in _MEASURES:
        values = getattr(assignments, name).tolist()
        columns[name] = [f"{value:.4f}" for value in values]
    if assignments.targets is not None:
        columns["target"] = assignments.targets.tolist()
    if assignments.outlier is not None:
        columns["outlier"] = assignments.outlier.astype(int).tolist()
    for number, level in enumerate(assignments.levels, 1):
        columns[f"level_{number}"] = level.tolist()
    with atomic_write(folder / _FILE) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_assignments(folder: Path) -> Assignments:
    """Reads what :func:`write_assignments` wrote.

    Raises:
        ValueError: If the file is missing or is none of ours.
    """
    path = folder / _FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, strict=True)
            names = next(rows)
            columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        targets, outlier = columns.get("target"), columns.get("outlier")
        return Assignments(
            keys=columns["key"],
            labels=np.array(columns["cluster"], dtype=np.int64),
            **{name: np.array(columns[name], np.float32) for name in _MEASURES},
            outlier=None if outlier is None else np.array(outlier, np.int64) > 0,
            targets=None if targets is None else np.array(targets, dtype=np.int64),
            levels=tuple(
                np.array(values, dtype=np.int64)
                for name, values in columns.items()
                if name.startswith("level_")
            ),
        )
    except (OSError, csv.Error, KeyError, StopIteration, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read as the table of a run: {error}"
        ) from None
