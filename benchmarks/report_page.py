"""What a report weighs, and how soon Chromium has it open.

    python benchmarks/report_page.py --npz cifar10.npz
    python benchmarks/report_page.py --npz cifar10.npz --counts 10000 --size 300 200
    python benchmarks/report_page.py --digits --counts 1797 --keep pages

The npz holds ``images`` ``(n, h, w, 3)`` or ``(n, h, w)`` in uint8, and ``labels`` and
``class_names`` if they are known. The embeddings are stand-ins, principal components
of the pixels under k-means, and so are the curves: the pages look like those
of a run, and say that they are none. "write" is the time that a page took to be made,
"open" the time from the start of the navigation until it has drawn what is in sight, in
headless Chromium from a file, the median of ``--repeats``. Leave the machine idle.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from hadis_lightly.cluster import isolation
from hadis_lightly.report import ReportData, write_report

MAX_POINTS = 2000


def load(options: argparse.Namespace) -> tuple[Any, Any, list[str] | None]:
    """Images, classes (-1 unknown) and names of the classes."""
    if options.digits:
        digits = load_digits()
        images = (digits.images * 255 / 16).astype(np.uint8)
        return images, digits.target, [str(digit) for digit in range(10)]
    with np.load(options.npz) as file:
        images = file["images"]
        labels = file["labels"] if "labels" in file else np.full(len(images), -1)
        names = file["class_names"].tolist() if "class_names" in file else None
    return images, labels, names


def stand_in(options: argparse.Namespace, n: int) -> ReportData:
    """A report of n images whose embeddings are principal components of the pixels."""
    images, targets, names = load(options)
    chosen = np.random.default_rng(0).permutation(len(images))[:n]
    images, targets = images[chosen], targets[chosen].astype(np.int64)
    flat = images.reshape(len(images), -1).astype(np.float32)
    embeddings = PCA(min(48, *flat.shape), whiten=True, random_state=0).fit_transform(
        flat - flat.mean(axis=1, keepdims=True)
    )
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    kmeans = KMeans(options.n_clusters, n_init=3, random_state=0).fit(embeddings)
    labels = kmeans.labels_.astype(np.int64)
    prototypes = kmeans.cluster_centers_
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    cosines = embeddings @ prototypes.T
    shares = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / 0.1)
    rows = np.arange(len(labels))
    points = np.full((len(labels), 2), np.nan)
    on_map = min(MAX_POINTS, len(labels))
    tsne = TSNE(metric="cosine", init="pca", random_state=0)
    points[:on_map] = tsne.fit_transform(embeddings[:on_map])
    is_known = options.with_classes and bool((targets >= 0).any())
    epochs = np.arange(1, 41)
    return ReportData(
        title=f"Stand-in, {options.n_clusters} clusters",
        summary=[
            ("Method", "k-means on principal components of the pixels (no training)"),
            (
                "Images",
                f"{len(labels):,} of {options.npz.name if options.npz else 'digits'}",
            ),
            ("Curves", "made up, to show where they stand"),
        ],
        settings={"n_clusters": options.n_clusters, "data": {"source": "npz"}},
        scores=scores(targets, labels, embeddings, is_known),
        warnings=[],
        left_out=[],
        history=[
            {"epoch": float(e), "seconds": 1.0, "nmi": 0.1, "silhouette": 0.1}
            for e in epochs
        ],
        losses={
            "loss": (epochs.tolist(), (0.4 + np.exp(-epochs / 9)).tolist()),
            "loss_hsd": (epochs.tolist(), (0.2 + 0.5 * np.exp(-epochs / 14)).tolist()),
        },
        warmup_epochs=8,
        keys=[f"{row:05d}.png" for row in chosen.tolist()],
        labels=labels,
        confidence=(shares / shares.sum(axis=1, keepdims=True))[rows, labels],
        distance=np.linalg.norm(embeddings - prototypes[labels], axis=1),
        isolation=isolation(embeddings).numpy(),
        targets=targets if is_known else np.full(len(labels), -1),
        class_names=names,
        prototypes=prototypes,
        points=points,
        read=lambda row: sized(Image.fromarray(images[row]), options.size),
    )


def sized(image: Image.Image, size: list[int] | None) -> Image.Image:
    return image.resize((size[0], size[1]), Image.Resampling.BICUBIC) if size else image


def scores(targets: Any, labels: Any, embeddings: Any, known: bool) -> dict[str, float]:
    """NMI and ARI, or the silhouette of 2,000 images."""
    if known:
        return {
            "nmi": float(normalized_mutual_info_score(targets, labels)),
            "ari": float(adjusted_rand_score(targets, labels)),
        }
    sample = slice(0, 2000)
    return {
        "silhouette": float(
            silhouette_score(embeddings[sample], labels[sample], metric="cosine")
        )
    }


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by the chromedriver that is installed beside it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise SystemExit("chromium and chromedriver must be installed")
    os.environ["SE_OFFLINE"] = "true"
    settings = webdriver.ChromeOptions()
    settings.binary_location = browser
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
        settings.add_argument(f"--{argument}")
    settings.add_argument("--window-size=1400,900")
    page = webdriver.Chrome(options=settings, service=Service(driver))
    try:
        yield page
    finally:
        page.quit()


def opening_seconds(page: Any, path: Path) -> float:
    """Seconds from the start of the navigation until the page is ready."""
    page.get("about:blank")
    page.get(path.resolve().as_uri())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready = page.execute_script("return window.reportReady ?? null")
        if ready is not None:
            return float(ready) / 1000
        time.sleep(0.02)
    raise SystemExit(f"{path} was not ready after a minute")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--npz", type=Path)
    source.add_argument("--digits", action="store_true", help="scikit-learn's digits")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000, 10_000])
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--n-clusters", type=int, default=10)
    parser.add_argument("--without-classes", dest="with_classes", action="store_false")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder that keeps the pages")
    options = parser.parse_args()

    folder = options.keep or Path(tempfile.mkdtemp())
    print(f"{'images':>8}{'write s':>10}{'MB':>8}{'open s':>9}")
    with chromium() as page:
        for n in options.counts:
            data = stand_in(options, n)
            start = time.perf_counter()
            path = write_report(data, folder / f"report_{n}.html")
            seconds = time.perf_counter() - start
            opened = statistics.median(
                opening_seconds(page, path) for _ in range(options.repeats)
            )
            size = path.stat().st_size / 1e6
            print(
                f"{data.n_images:8,}{seconds:10.1f}{size:8.1f}{opened:9.2f}", flush=True
            )


if __name__ == "__main__":
    main()
