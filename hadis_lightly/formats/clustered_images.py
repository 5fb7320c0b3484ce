"""What other tools are given: images, their clusters, and their embeddings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hadis_lightly.artifacts.assignments import Assignments
from hadis_lightly.artifacts.fingerprint import gone_files
from hadis_lightly.artifacts.names_file import clusters_id, names_of_run
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
        cluster_names: Name of each of the ``k`` clusters; two may have the same.
        class_names: Names of the classes by number, if they have any.
        num_gone: Images of the run that have no file any more and are left out.
    """

    title: str
    table: Assignments
    embeddings: npt.NDArray[np.float32]
    source: ImageSource
    cluster_names: Sequence[str]
    class_names: Sequence[str] | None = None
    num_gone: int = 0

    def __len__(self) -> int:
        return len(self.table)

    def columns(self) -> dict[str, list[Any]]:
        """One list of ``n`` values for each column.

        They are those of ``assignments.csv``, with ``cluster_name`` after ``cluster``,
        and ``class``, empty where unknown, after ``target``.
        """
        table = self.table
        labels = table.labels.tolist()
        columns: dict[str, list[Any]] = {
            "key": list(table.keys),
            "cluster": labels,
            "cluster_name": [self.cluster_names[label] for label in labels],
        }
        for name in _MEASURES:
            # As in the table: float32 would show digits that mean nothing.
            columns[name] = [round(v, 4) for v in getattr(table, name).tolist()]
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
    run: SavedRun, *, path: str | None = None, names: str | Path | None = None
) -> ClusteredImages:
    """The images of a run; those whose files are gone are left out.

    Args:
        run: The run.
        path: Where its images are, if they have moved.
        names: Names of clusters, see :func:`read_names`; by default those that the run
            started from.

    Raises:
        DataError: If no image is left.
        ValueError: If the names cannot be read, or do not fit.
    """
    n_clusters = len(run.prototypes)
    cluster_names = [f"cluster {cluster}" for cluster in range(n_clusters)]
    names = names or names_of_run(run.folder, clusters_id(run.prototypes))
    if names is not None:
        for cluster, name in read_names(names, n_clusters).items():
            cluster_names[cluster] = name
    source = run.source(path)
    rows = np.flatnonzero(~gone_files(source))
    if len(rows) == 0:
        raise DataError("no image of the run is left; set data.path to their folder")
    return ClusteredImages(
        title=run.folder.name,
        table=_rows_of(run.assignments, rows),
        embeddings=run.embeddings[rows],
        source=source.subset(rows, "those that are left"),
        cluster_names=cluster_names,
        class_names=run.class_names(),
        num_gone=len(source) - len(rows),
    )


def read_names(path: str | Path, n_clusters: int) -> dict[int, str]:
    """Reads names of clusters: ``{"0": "cats", "3": "dogs"}``, in a JSON file.

    They may be in an object ``"names"`` among other things, as in the file that a
    report downloads, or a list. Clusters that are left out, or have an empty name or
    null, have no name; names of halves are passed over.

    Raises:
        ValueError: If the file cannot be read, or names a cluster that does not exist.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        names = content.get("names", content)
        if isinstance(names, list):
            names = dict(enumerate(names))
        # A report may have named the halves of a cluster, 5a and 5b.
        whole = {c: name for c, name in names.items() if str(c)[-1:] not in ("a", "b")}
        found = {int(cluster): name for cluster, name in whole.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot read names from {str(path)!r}: {error}") from None
    for cluster, name in found.items():
        if not 0 <= cluster < n_clusters:
            raise ValueError(
                f"{str(path)!r} names cluster {cluster}, but the run has clusters 0 to "
                f"{n_clusters - 1}"
            )
        if name is not None and not isinstance(name, str):
            raise ValueError(
                f"{str(path)!r} must give cluster {cluster} a text, got {name!r}"
            )
    return {cluster: name for cluster, name in found.items() if name}


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
