"""Memory and speed of predictions, against the number of files.

    python benchmarks/predict_memory.py --run runs/digits/... --images a_few_photos

Every number of files gets a folder of hard links to some images and a process of its
own, whose largest resident memory is printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hadis_lightly.cli.predict import ImagesToPredict, PredictSettings, predict_images
from hadis_lightly.data import load_folder


def link_files(images: Path, folder: Path, n: int, per_folder: int = 5000) -> None:
    """``n`` links to the images, in folders of 5,000."""
    source = load_folder(images)
    paths = [Path(source.path(i)) for i in range(len(source))]
    for i in range(n):
        place = folder / f"{i // per_folder:04}"
        place.mkdir(parents=True, exist_ok=True)
        path = paths[i % len(paths)]
        os.link(path, place / f"{i:07}{path.suffix}")


def measure(run: Path, folder: Path) -> None:
    """Predicts a folder in this process, and prints its row."""
    start = time.perf_counter()
    data = ImagesToPredict(path=str(folder))
    out = str(folder.parent / "clusters.csv")
    summary = predict_images(PredictSettings(str(run), out, quiet=True, data=data))
    seconds = time.perf_counter() - start
    # In KiB on Linux, in bytes on macOS.
    unit = 1024**2 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    n = summary.num_images
    print(f"{n:>9,}  {seconds:8.1f}  {n / seconds:8.0f}  {peak:10.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a run")
    parser.add_argument("--images", type=Path, required=True, help="some images")
    parser.add_argument(
        "--counts", type=int, nargs="+", default=[1000, 10_000, 100_000]
    )
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        measure(options.run, options.folder)
        return
    print(f"{'files':>9}  {'seconds':>8}  {'files/s':>8}  {'peak MiB':>10}", flush=True)
    for n in options.counts:
        # Beside the images, since links do not lead to another disk.
        with tempfile.TemporaryDirectory(dir=options.images.parent) as folder:
            link_files(options.images, Path(folder) / "files", n)
            line = [sys.executable, __file__, "--folder", f"{folder}/files"]
            line += ["--run", str(options.run), "--images", str(options.images)]
            subprocess.run(line, check=True)


if __name__ == "__main__":
    main()
