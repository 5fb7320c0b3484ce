"""What other tools are given: images, their clusters, and their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadis_lightly.artifacts.assignments import Assignments, BoolArray, IntArray
from hadis_lightly.artifacts.fingerprint import gone_files
from hadis_lightly.artifacts.image_labels import ImageLabels, labels_of_run
from hadis_lightly.artifacts.saved_run import SavedRun
from hadis_lightly.data import DataError, ImageSource

_MEASURES = ("confidence", "distance", "isolation")


@dataclass(frozen=True)
class ClusteredImages:
    """A finished clustering of ``n`` images in ``k`` clusters.

    Args:
        title: What the clustering is called: the name of the run's folder.
        table: Clusters, and how well they fit.
        embeddings: L2-normalised, float32 ``(n, d)``.
        source: The images, in the order of the table.
        labels: Label of each image: the name of its cluster, or its own.
        by_hand: Whether a person decided on the image itself, bool ``(n,)``.
        class_names: Names of the classes by number, if they have any.
        num_gone: Images of the run that have no file any more and are left out.
        num_excluded: Images of the run that a person excluded.
    """

    title: str
    table: Assignments
    embeddings: npt.NDArray[np.float32]
    source: ImageSource
    labels: Sequence[str]
    by_hand: BoolArray
    class_names: Sequence[str] | None = None
    num_gone: int = 0
    num_excluded: int = 0

    def __len__(self) -> int:
        return len(self.table)

    def columns(self) -> dict[str, list[Any]]:
        """One list of ``n`` values for each column.

        They are those of ``assignments.csv``, with ``label`` and ``decided_by``, which
        is ``cluster`` or ``hand``, after ``cluster``, and ``class``, empty where
        unknown, after ``target``. What was decided by hand has a confidence of 1.
        """
        table = self.table
        columns: dict[str, list[Any]] = {
            "key": list(table.keys),
            "cluster": table.labels.tolist(),
            "label": list(self.labels),
            "decided_by": ["hand" if hand else "cluster" for hand in self.by_hand],
        }
        for name in _MEASURES:
            # As in the table: float32 would show digits that mean nothing.
            columns[name] = [round(v, 4) for v in getattr(table, name).tolist()]
        confidence = np.where(self.by_hand, 1.0, columns["confidence"])
        columns["confidence"] = confidence.tolist()
        if table.targets is not None:
            columns["target"] = table.targets.tolist()
            columns["class"] = [self._class_name(i) for i in columns["target"]]
        if table.outlier is not None:
            columns["outlier"] = table.outlier.tolist()
        for number, level in enumerate(table.levels, 1):
            columns[f"level_{number}"] = level.tolist()
        return columns

    def _class_name(self, target: int) -> str:
        if target < 0:
            return ""
        return str(target) if self.class_names is None else self.class_names[target]


def images_of_run(
    run: SavedRun,
    *,
    path: str | None = None,
    names: str | Path | None = None,
    level: int | None = None,
) -> ClusteredImages:
    """The images of a run, without those that are excluded or whose files are gone.

    Args:
        run: The run.
        path: Where its images are, if they have moved.
        names: What was decided in the report: its ``names.json``, or its ``labels.csv``
            or another table of files and labels, whose images alone are then taken. Or
            names of clusters, ``{"0": "cats", "3": "dogs"}``, or a list of them, in a
            JSON file. By default, what the run started from.
        level: Level of the tree over the clusters that ``cluster`` is of, in place of
            names; see :class:`~hadis_lightly.cluster.ClusterTree`.

    Raises:
        DataError: If no image is left.
        ValueError: If the names cannot be read, or do not fit, or there is no such
            level.
    """
    table = run.assignments
    if level is not None:
        if names is not None:
            raise ValueError(
                f"names cannot be combined with level={level}: they are names of the "
                "clusters of the run."
            )
        table = replace(table, labels=_clusters_at(table, level))
        labels = [f"cluster {cluster}" for cluster in table.labels.tolist()]
        given = ImageLabels(labels, np.zeros(len(table), dtype=bool))
    else:
        given = labels_of_run(run, names)
    source = run.source(path)
    is_gone = gone_files(source)
    is_excluded = np.array([label is None for label in given.labels])
    rows = np.flatnonzero(~is_gone & ~is_excluded)
    if len(rows) == 0:
        if not is_gone.all():
            raise DataError("no image is left: all of them are excluded")
        raise DataError("no image of the run is left; set data.path to their folder")
    return ClusteredImages(
        title=run.folder.name,
        table=_rows_of(table, rows),
        embeddings=run.embeddings[rows],
        source=source.subset(rows, "those that are left"),
        labels=[given.labels[row] or "" for row in rows.tolist()],
        by_hand=given.by_hand[rows],
        class_names=run.class_names(),
        num_gone=int((is_gone & ~is_excluded).sum()),
        num_excluded=int(is_excluded.sum()),
    )


def _clusters_at(table: Assignments, level: int) -> IntArray:
    """Cluster of each image at a level, ``(n,)``."""
    if not 1 <= level <= len(table.levels):
        raise ValueError(
            f"level must be from 1 to {len(table.levels)}, got {level}."
            if table.levels
            else f"level is {level}, but this run has no levels."
        )
    return table.levels[level - 1]


def _rows_of(table: Assignments, rows: npt.NDArray[np.int64]) -> Assignments:
    arrays = {name: getattr(table, name)[rows] for name in ("labels", *_MEASURES)}
    return replace(
        table,
        keys=[table.keys[row] for row in rows],
        targets=None if table.targets is None else table.targets[rows],
        outlier=None if table.outlier is None else table.outlier[rows],
        levels=tuple(level[rows] for level in table.levels),
        **arrays,
    )
