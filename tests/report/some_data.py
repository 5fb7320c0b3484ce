"""Clusterings of coloured squares, for the tests of the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from hadis_lightly.report import ReportData


def square(row: int, label: int, side: int = 24) -> Image.Image:
    """A square in the colour of its cluster, with a bar at a place of its own."""
    hue = (label * 47) % 256
    pixels = np.empty((side, side, 3), dtype=np.uint8)
    pixels[:] = (hue, 220 - hue // 2, (hue * 3) % 256)
    pixels[:, row % side] = (255, 255, 255)
    return Image.fromarray(pixels)


def some_data(
    n: int = 60,
    k: int = 3,
    *,
    side: int = 24,
    with_classes: bool = True,
    read: Callable[[int], Image.Image] | None = None,
    **changes: Any,
) -> ReportData:
    """``n`` images in ``k`` clusters, image i in cluster i % k."""
    rng = np.random.default_rng(0)
    labels = np.arange(n, dtype=np.int64) % k
    prototypes = rng.normal(size=(k, 8))
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    targets = np.where(rng.random(n) < 0.9, labels, (labels + 1) % k)
    middles = rng.normal(scale=20, size=(k, 2))
    fields: dict[str, Any] = {
        "title": f"Test, {k} clusters",
        "summary": [("Method", "HaDis"), ("Images", f"{n:,}"), ("Device", "cpu")],
        "settings": {"n_clusters": k, "model": {"hsd_weight": 1.0, "sizes": (1, 2)}},
        "scores": {"nmi": 0.8123, "acc": 0.9, "ari": 0.75},
        "warnings": [],
        "left_out": [],
        "history": [
            {"epoch": float(e), "seconds": 1.0, "nmi": e / 10, "acc": 0.5, "ari": 0.1}
            for e in range(9)
        ],
        "losses": {"loss": (list(range(1, 9)), [1 / e for e in range(1, 9)])},
        "warmup_epochs": 2,
        "keys": [f"img_{row:04d}.png" for row in range(n)],
        "labels": labels,
        "confidence": rng.uniform(0.3, 1, n),
        "distance": rng.uniform(0.1, 1.2, n),
        "isolation": rng.uniform(0.2, 1.3, n),
        "targets": targets if with_classes else np.full(n, -1),
        "class_names": [f"class {c}" for c in range(k)] if with_classes else None,
        "prototypes": prototypes,
        "points": middles[labels] + rng.normal(size=(n, 2)),
        "read": read or (lambda row: square(row, row % k, side)),
    }
    return ReportData(**{**fields, **changes})
