"""Everything that the page shows, except the pixels, as plain lists and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hadis_lightly.artifacts.names_file import clusters_id
from hadis_lightly.artifacts.results import describe_labelled
from hadis_lightly.cluster import name_clusters
from hadis_lightly.report.explanations import explain_scores, in_order, title_of
from hadis_lightly.report.matrices import confusion, similarity
from hadis_lightly.report.report_data import FloatArray, IntArray, ReportData
from hadis_lightly.report.thumbnails import Sheet
from hadis_lightly.text import plain

_NUM_CLASSES_PER_CLUSTER = 6


def page_content(
    data: ReportData, rows: IntArray, sheets: Sequence[Sheet]
) -> dict[str, Any]:
    """What the page shows, ready for JSON; ``rows`` are those in the sheets."""
    known = np.unique(data.targets[data.targets >= 0]).tolist()
    names = {target: data.class_name(target) for target in known}
    content: dict[str, Any] = {
        "title": data.title,
        "run": clusters_id(data.prototypes),
        "names": data.names,
        "summary": [list(pair) for pair in data.summary],
        "settings": data.settings,
        "scores": explain_scores(data.scores, data.n_labelled, data.n_images),
        "warnings": [*changed_images(data, rows, sheets), *data.warnings],
        "leftOut": list(data.left_out),
        "curves": _curves(data),
        "warmupEpochs": data.warmup_epochs,
        "total": data.n_images,
        "classNames": names if data.has_targets else None,
        "clusters": _clusters(data),
        "similarity": similarity(data.prototypes),
        "tree": data.tree,
        "numbers": _numbers(data),
        "confusion": confusion(data),
        "images": _images(data, rows, sheets),
        "sheets": [[sheet.mime, *sheet.cell, sheet.n_columns] for sheet in sheets],
        "perSheet": len(sheets[0].sizes) if sheets else 1,
    }
    return {name: plain(value) for name, value in content.items()}


def changed_images(
    data: ReportData, rows: IntArray, sheets: Sequence[Sheet]
) -> list[str]:
    """A line each on images that cannot be read any more, and on those replaced.

    Those that cannot be read are counted among all images if they are gone, and among
    those in the sheets if they are damaged. They have grey places in the page.
    """
    sizes = [size for sheet in sheets for size in sheet.sizes]
    missing = np.zeros(data.n_images, np.bool_) if data.gone is None else data.gone
    missing = missing.copy()
    missing[rows] |= [size == (0, 0) for size in sizes]
    lines = [data.replaced] if data.replaced else []
    if missing.any():
        lines.insert(
            0,
            f"{int(missing.sum()):,} of {data.n_images:,} images cannot be read any "
            "more, and are grey here: they were moved, removed or damaged since the "
            "run",
        )
    return lines


def _clusters(data: ReportData) -> list[dict[str, Any]]:
    """Size, mean confidence, name and classes of every cluster, of all images."""
    k = data.n_clusters
    sizes = np.bincount(data.labels, minlength=k)
    confidences = np.bincount(data.labels, weights=data.confidence, minlength=k)
    named = name_clusters(data.targets, data.labels) if data.has_targets else {}
    order = np.argsort(data.labels, kind="stable")
    members = np.split(data.targets[order], np.cumsum(sizes)[:-1])
    clusters = []
    for cluster in range(k):
        targets, counts = np.unique(members[cluster], return_counts=True)
        largest = np.argsort(-counts, kind="stable")[:_NUM_CLASSES_PER_CLUSTER]
        classes = [[int(targets[at]), int(counts[at])] for at in largest]
        clusters.append(
            {
                "size": int(sizes[cluster]),
                "confidence": float(confidences[cluster] / max(1, sizes[cluster])),
                "match": named.get(cluster),
                "classes": classes if data.has_targets else [],
            }
        )
    return clusters


def _images(
    data: ReportData, rows: IntArray, sheets: Sequence[Sheet]
) -> dict[str, list[Any] | None]:
    """One list per column, in the order of the sheets."""
    sizes = [size for sheet in sheets for size in sheet.sizes]
    originals = [size for sheet in sheets for size in sheet.originals]
    return {
        "row": rows.tolist(),
        "key": [data.keys[row] for row in rows],
        "label": data.labels[rows].tolist(),
        "confidence": _rounded(data.confidence[rows], 4),
        "distance": _rounded(data.distance[rows], 4),
        "isolation": _rounded(data.isolation[rows], 4),
        "outlier": None if data.outlier is None else data.outlier[rows].tolist(),
        "target": data.targets[rows].tolist() if data.has_targets else None,
        "half": None if data.halves is None else data.halves[rows].tolist(),
        "x": _rounded(data.points[rows, 0], 2),
        "y": _rounded(data.points[rows, 1], 2),
        "width": [size[0] for size in sizes],
        "height": [size[1] for size in sizes],
        "ownWidth": [size[0] for size in originals],
        "ownHeight": [size[1] for size in originals],
    }


def _rounded(values: FloatArray, digits: int) -> Any:
    return values.astype(np.float64).round(digits).tolist()


def _curves(data: ReportData) -> list[dict[str, Any]]:
    """Scores and losses against epochs, each a curve of its own."""
    curves = []
    # A score against classes may come and go: a clustering that collapsed has none.
    names = dict.fromkeys(name for record in data.history for name in record)
    for name in in_order(names):
        if name not in ("epoch", "seconds") and not name.startswith("size_m"):
            known = [record for record in data.history if name in record]
            epochs = [record["epoch"] for record in known]
            curves.append((name, "score", epochs, [record[name] for record in known]))
    curves += [(name, "loss", [*xs], [*ys]) for name, (xs, ys) in data.losses.items()]
    note = describe_labelled(data.n_labelled, data.n_images)
    return [
        {
            "title": title_of(name, note),
            "kind": kind,
            "at": epochs,
            "values": values,
        }
        for name, kind, epochs, values in curves
        if epochs
    ]


# Titles of what the number of clusters was chosen by.
_SIGNS = {
    "score": "Score",
    "stability": "Agreement of halves",
    "weakest": "Weakest cluster",
    "silhouette": "Silhouette",
}


def _numbers(data: ReportData) -> dict[str, Any] | None:
    """The number of clusters that was chosen, and the curves that speak for it."""
    if data.choice is None:
        return None
    rows = data.choice["curve"]
    return {
        "chosen": data.choice["n_clusters"],
        "words": data.choice["description"].split("\n"),
        "curves": [
            {
                "title": title,
                "at": [row["n_clusters"] for row in rows],
                "values": [row[name] for row in rows],
            }
            for name, title in _SIGNS.items()
        ],
    }
