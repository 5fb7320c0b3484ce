"""Large photos: seconds per epoch and per prediction, decoded once or all the time.

    python benchmarks/speed/photos.py
    python benchmarks/speed/photos.py --photos 20000 --links --rounds 1 --only once

Photos of 12 megapixels are made of scikit-learn's two, with noise; ``--links``
links to 100 of them. Two ways take turns, each as commands in processes of their own:
"once" is the default, "always" decodes every photo in full whenever it is needed
(``data.cache=off data.decode_size=0``), as versions before the cache did. Both train in
float32. Prediction is of 100 photos.

Seconds of the first epoch count from the start of the command, with imports, checks,
decoding and the first clustering; those of later epochs are medians. GiB are
the largest resident memory of the process, workers not included.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measuring import build_parser, write_rows
from PIL import Image
from sklearn.datasets import load_sample_images

WAYS = {"once": (), "always": ("data.cache=off", "data.decode_size=0")}


def make_photos(folder: Path, n: int, with_links: bool) -> None:
    """Writes ``n`` photos, upright and across, or links to 100 of them."""
    rng = np.random.default_rng(0)
    scenes = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    originals = folder.with_name("originals") if with_links else folder
    for path in (folder, originals):
        path.mkdir(exist_ok=True)
    for number in range(min(n, 100) if with_links else n):
        scene = scenes[number % 2]
        share = rng.uniform(0.3, 0.9)
        width, height = (int(side * share) for side in scene.size)
        left = int(rng.integers(0, scene.width - width))
        top = int(rng.integers(0, scene.height - height))
        size = (4000, 3000) if number % 3 else (3000, 4000)
        box = (left, top, left + width, top + height)
        pixels = np.asarray(scene.resize(size, box=box)).astype(np.int16)
        pixels += rng.integers(-12, 13, size=(*pixels.shape[:2], 1), dtype=np.int16)
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        photo.save(originals / f"{number:05}.jpg", quality=88)
    if with_links:
        for number in range(n):
            target = originals / f"{number % 100:05}.jpg"
            (folder / f"{number:05}.jpg").symlink_to(target)


def run(command: str, *words: str, scores: Path | None = None) -> tuple[float, float]:
    """Runs a command to its end.

    Returns:
        Seconds until ``scores`` has those of the first epoch, else of the command; and
        the largest resident memory in GiB.
    """
    start = time.perf_counter()
    line = [sys.executable, "-m", f"hadis_lightly.cli.{command}", *words]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    seconds = 0.0
    while scores is not None and process.returncode is None and not seconds:
        time.sleep(0.05)
        if scores.exists() and len(scores.read_text().splitlines()) >= 3:
            seconds = time.perf_counter() - start
        elif process.poll() is not None:
            break
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(line)} failed")
    return seconds or time.perf_counter() - start, usage.ru_maxrss / 2**20


def measure(options: argparse.Namespace, way: str, folder: Path) -> dict[str, object]:
    """One training and one prediction."""
    place = Path(tempfile.mkdtemp(dir=folder))
    scores = place / "run" / "scores.csv"
    first, memory = run(
        "train",
        f"data.path={folder / 'photos'}",
        "data.follow_links=true",
        "n_clusters=4",
        f"trainer.max_epochs={options.epochs}",
        "trainer.precision=32-true",
        "trainer.accelerator=cpu",
        "trainer.progress_bar=false",
        "loader.batch_size=32",
        f"output_dir={place / 'run'}",
        *WAYS[way],
        scores=scores,
    )
    with scores.open(encoding="utf-8") as file:
        ends = [float(row["seconds"]) for row in csv.DictReader(file)]
    later = statistics.median(np.diff(ends)[1:])
    predicted, _ = run(
        "predict",
        f"checkpoint={place / 'run'}",
        f"data.path={folder / 'few'}",
        "data.follow_links=true",
        f"out={place / 'clusters.csv'}",
    )
    return {
        "way": way,
        "first_epoch": first,
        "later_epoch": later,
        "predict": predicted,
        "gib": memory,
    }


def main() -> None:
    """Measures in turns, and prints medians and quartiles."""
    parser = build_parser(__doc__)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--links", action="store_true", help="links to 100 photos")
    parser.add_argument("--epochs", type=int, default=3, help="at least 2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=tuple(WAYS), help="this way alone")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photos(folder / "photos", options.photos, options.links)
        (folder / "few").mkdir()
        for path in sorted((folder / "photos").iterdir())[:100]:
            (folder / "few" / path.name).symlink_to(path)
        for _ in range(options.rounds):
            for way in [options.only] if options.only else WAYS:
                rows.append(measure(options, way, folder))
    for way in dict.fromkeys(row["way"] for row in rows):
        print(way)
        for column in ("first_epoch", "later_epoch", "predict", "gib"):
            values = [float(str(row[column])) for row in rows if row["way"] == way]
            low, middle, high = np.percentile(values, (25, 50, 75))
            print(f"  {column:12} {middle:8.2f}  [{low:.2f}, {high:.2f}]")
    write_rows(options.csv, rows)


if __name__ == "__main__":
    main()
