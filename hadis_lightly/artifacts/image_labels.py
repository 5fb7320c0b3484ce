"""The label of every image of a run, by names of its clusters or by a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hadis_lightly.artifacts.assignments import Assignments, BoolArray
from hadis_lightly.artifacts.names_file import (
    Names,
    clusters_id,
    is_label_table,
    is_of_report,
    names_of_run,
    read_names,
)
from hadis_lightly.artifacts.saved_run import SavedRun
from hadis_lightly.data.files.path_list import read_list
from hadis_lightly.text import in_utf8, printable


class GivenLabel(NamedTuple):
    """What a table says of an image."""

    label: str | None
    """None if the image is excluded."""
    by_hand: bool
    """Whether a person decided it, not the name of a cluster."""


@dataclass(frozen=True)
class ImageLabels:
    """Labels of ``n`` images."""

    labels: Sequence[str | None]
    """None for images that are excluded."""
    by_hand: BoolArray
    """Whether a person decided on the image itself, ``(n,)``."""


def read_label_table(path: str | Path) -> dict[str, GivenLabel]:
    """Reads ``labels.csv`` of a report, or another table of files and labels.

    Labels are by hand unless the column ``decided_by`` says ``cluster``. Images without
    a label are excluded.

    Returns:
        Labels by file.

    Raises:
        ValueError: If the table cannot be read, or has no labels.
    """
    table = {}
    for entry in read_list(str(path)):
        if entry.label is None:
            raise ValueError(f"names {str(path)!r} has no column label.")
        by_hand = entry.decided_by != "cluster"
        table[in_utf8(entry.path)] = GivenLabel(entry.label or None, by_hand)
    return table


def labels_of_run(run: SavedRun, names: str | Path | None = None) -> ImageLabels:
    """Labels of the images of a run, in their order.

    Args:
        run: The run.
        names: ``names.json`` of its report; or ``labels.csv``, or another table (see
            :func:`read_label_table`), in which images that are missing are excluded; or
            names of clusters, ``{"0": "cats", "3": "dogs"}``, or a list of them, in a
            JSON file. By default, what the run started from.

    Raises:
        ValueError: If the file cannot be read, or does not fit the run.
    """
    if names is not None and is_label_table(names):
        return _labels_by_table(names, run.assignments)
    given = _names(names or names_of_run(run.folder, clusters_id(run.prototypes)), run)
    return labels_by_names(given, run.assignments)


def _labels_by_table(path: str | Path, table: Assignments) -> ImageLabels:
    given = read_label_table(path)
    keys = list(map(in_utf8, table.keys))
    if not any(key in given for key in keys):
        raise ValueError(
            f"names {str(path)!r}: none of its {len(given):,} images is one of the "
            f"run's, which are called {printable(keys[0])!r} and so on."
        )
    found = [given.get(key, GivenLabel(None, by_hand=False)) for key in keys]
    by_hand = np.array([image.by_hand for image in found])
    return ImageLabels([image.label for image in found], by_hand)


def labels_by_names(names: Names, table: Assignments) -> ImageLabels:
    """The same from names of the clusters that a table is of."""
    halves = table.levels[-1] % 2 if table.levels else np.zeros_like(table.labels)
    labels = list(map(names.label, table.labels.tolist(), halves.tolist()))
    by_hand = np.zeros(len(table), dtype=bool)
    for row, key in enumerate(map(in_utf8, table.keys)):
        if key in names.images:
            labels[row], by_hand[row] = names.images[key].label, True
    return ImageLabels(labels, by_hand)


def _names(path: str | Path | None, run: SavedRun) -> Names:
    """What a report's ``names.json`` says, or names of clusters in another file."""
    if path is None:
        return _names_of_clusters({}, run)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not is_of_report(content):
            return _names_of_clusters(content, run)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"cannot read names from {str(path)!r}: {error}") from None
    names = read_names(path)
    has_halves = bool(run.assignments.levels)
    names.check_run(
        clusters_id(run.prototypes), len(run.prototypes), has_halves=has_halves
    )
    return names


def _names_of_clusters(content: Any, run: SavedRun) -> Names:
    """Names as an object, maybe in another as ``"names"``, or as a list."""
    if isinstance(content, dict):
        content = content.get("names", content)
    if isinstance(content, list):
        content = dict(enumerate(content))
    n_clusters, names = len(run.prototypes), {}
    for cluster, name in content.items():
        if not 0 <= int(cluster) < n_clusters:
            raise ValueError(
                f"it names cluster {cluster}, but the run has clusters 0 to "
                f"{n_clusters - 1}"
            )
        if name is not None and not isinstance(name, str):
            raise ValueError(f"cluster {cluster} must have a text, got {name!r}")
        if name:
            names[str(int(cluster))] = name
    return Names(
        run=clusters_id(run.prototypes),
        n_clusters=n_clusters,
        names=names,
        split=frozenset(),
        rejected=frozenset(),
        images={},
    )
