"""What a report weighs, and how soon Chromium has it open.

    python benchmarks/report/opening.py --counts 10000 100000 --keep pages
    python benchmarks/report/opening.py --pages before/10000.html pages/10000.html

The images are scikit-learn's digits, enlarged to 32 x 32, each with noise of its own;
clusters, confidences and the map are made up. "open" is the time from the start of the
navigation until the page has drawn what is in sight, from a file: the median of
``--repeats``, taken in turns over the pages. Leave the machine idle.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from chromium import chromium, open_page
from PIL import Image
from sklearn.datasets import load_digits

from hadis_lightly.report import ReportData, write_report


def stand_in(n: int, k: int = 14) -> ReportData:
    """A report of n noisy digits in k clusters that mean nothing."""
    rng = np.random.default_rng(0)
    digits = (load_digits().images * 15).astype(np.uint8)
    labels = rng.integers(0, k, n)
    prototypes = rng.normal(size=(k, 64))
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    points = np.full((n, 2), np.nan)
    points[:3000] = rng.normal(size=(min(n, 3000), 2)) + 4 * labels[:3000, None]

    def read(row: int) -> Image.Image:
        pixels = np.kron(digits[row % len(digits)], np.ones((4, 4), np.uint8))
        noise = np.random.default_rng(row).integers(0, 30, pixels.shape)
        return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))

    values: dict[str, Any] = {
        "title": f"Stand-in, {k} clusters",
        "summary": [("Clusters", "made up")],
        **{name: {} for name in ("settings", "scores", "losses")},
        **{name: [] for name in ("warnings", "left_out", "history")},
        "warmup_epochs": 0,
        "keys": [f"folder/image_{row:06}.png" for row in range(n)],
        "labels": labels,
        "confidence": rng.uniform(0.3, 1, n),
        "distance": rng.uniform(0.1, 1.2, n),
        "isolation": rng.uniform(0.2, 1.3, n),
        "targets": np.full(n, -1),
        "class_names": None,
        "prototypes": prototypes,
        "points": points,
        "read": read,
        "halves": rng.integers(0, 2, n),
    }
    known = {field.name for field in fields(ReportData)}
    return ReportData(**{name: values[name] for name in known & set(values)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="*", default=[])
    parser.add_argument("--pages", type=Path, nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder that keeps the pages")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp())
    pages = list(options.pages)
    for n in options.counts:
        start = time.perf_counter()
        pages.append(write_report(stand_in(n), folder / f"{n}.html", max_images=n))
        print(f"{n:,} images written in {time.perf_counter() - start:.0f} s")
    seconds: dict[Path, list[float]] = {path: [] for path in pages}
    with chromium() as page:
        for _ in range(options.repeats):
            for path in pages:
                seconds[path].append(open_page(page, path))
    for path, times in seconds.items():
        size = path.stat().st_size / 1e6
        print(f"{path}: {size:.1f} MB, open {statistics.median(times):.2f} s", times)


if __name__ == "__main__":
    main()
