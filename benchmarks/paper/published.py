"""The published scores, NMI, ACC and ARI in percent, from ``published.csv``.

Tables II, III and IV are those of HaDis's paper (arXiv 2401.14038); rows of other
papers say so. Which two noise values above 0.001 Table IV has is unknown.
"""

from __future__ import annotations

import csv
from pathlib import Path

Scores = tuple[float, float, float]

#: The data sets of Table II in its order: their recipes, and their titles.
SETS = {
    "cifar10": "CIFAR-10",
    "cifar20": "CIFAR-20",
    "stl10": "STL-10",
    "imagenet10": "ImageNet-10",
    "imagenet_dogs": "ImageNet-Dogs",
}


def published(table: str) -> dict[tuple[str, str], dict[str, Scores]]:
    """Source and name of every row of a table, to its scores by data set."""
    rows: dict[tuple[str, str], dict[str, Scores]] = {}
    path = Path(__file__).with_name("published.csv")
    with path.open(newline="", encoding="utf-8") as file:
        for entry in csv.DictReader(file):
            if entry["table"] == table:
                scores = (float(entry[name]) for name in ("nmi", "acc", "ari"))
                row = rows.setdefault((entry["source"], entry["row"]), {})
                row[entry["dataset"]] = tuple(scores)  # type: ignore[assignment]
    return rows
