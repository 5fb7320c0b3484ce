"""All methods on digits, or on a part of CIFAR-10: one table, the same time for each.

    python benchmarks/methods.py
    python benchmarks/methods.py --seeds 0 1 2 3 4 --methods hadis hadis-paper
    python benchmarks/methods.py --recipe small_cifar10 --data c10.npz --images 10000

Every row is the recipe with ``method=``; ``-paper`` rows cluster as the paper does, by
cosine k-means, without the recipe's whitening. Scores are mean +- standard deviation
over the seeds, ACC also as the lowest; ``--csv`` keeps every run. Times are those of
the processor, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import copy
import csv
import runpy
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from hadis_lightly.methods import with_method
from hadis_lightly.runs import run
from hadis_lightly.settings import Settings

HERE = Path(__file__).parent
RECIPES = {
    "digits": HERE.parent / "recipes" / "digits.py",
    "cifar10": HERE.parent / "recipes" / "cifar10.py",
    "small_cifar10": HERE / "small_cifar10.py",
}
NAMES = {
    "hadis": "HaDis",
    "propos": "ProPos",
    "byol": "BYOL",
    "cc": "CC",
    "pici": "PICI",
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="digits", choices=RECIPES)
    parser.add_argument("--data", type=Path, help="npz file with images and labels")
    parser.add_argument("--images", type=int, help="only so many, of each class alike")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[*NAMES, "hadis-paper"],
        choices=[*NAMES, "hadis-paper", "propos-paper", "byol-paper"],
    )
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--engine", default="auto", help="data.pipeline of all runs")
    parser.add_argument("--csv", type=Path, help="file for the score of every run")
    return parser.parse_args()


def settings_of(
    options: argparse.Namespace, row: str, seed: int, data: Path | None
) -> Settings:
    recipe = runpy.run_path(str(RECIPES[options.recipe]))
    settings: Settings = copy.deepcopy(recipe["SETTINGS"])
    method, _, paper = row.partition("-")
    if method != settings.method:
        settings = with_method(settings, method, recipe["METHODS"].get(method))
    settings.clustering.whiten &= not paper
    settings.clustering.pixel_baseline = row == options.methods[0]
    settings.seed = seed
    settings.trainer.progress_bar = False
    settings.data.pipeline = options.engine
    if data is not None:
        settings.data.source, settings.data.path = "npz", str(data)
    if options.epochs:
        settings.trainer.max_epochs = options.epochs
    return settings


def balanced(path: Path, num_images: int, folder: Path) -> Path:
    """A file with so many of the images, of each class alike, drawn at random."""
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files}
    labels = arrays["labels"]
    classes = np.unique(labels)
    draw = np.random.default_rng(0)
    rows = np.concatenate(
        [
            draw.choice(np.flatnonzero(labels == c), num_images // len(classes), False)
            for c in classes
        ]
    )
    rows.sort()
    found = folder / f"{path.stem}_{len(rows)}.npz"
    of_images = {name for name in arrays if len(arrays[name]) == len(labels)}
    np.savez(found, **{name: arrays[name][rows] for name in of_images})
    return found


def name_of(row: str) -> str:
    method, _, paper = row.partition("-")
    return NAMES[method] + (", cosine k-means" if paper else "")


def spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def main() -> None:
    options = parse()
    runs: list[dict[str, float | str]] = []
    pixels: list[dict[str, float | str]] = []
    with tempfile.TemporaryDirectory() as folder:
        data = options.data
        if data is not None and options.images:
            data = balanced(data, options.images, Path(folder))
        for seed in options.seeds:
            for row in options.methods:
                settings = settings_of(options, row, seed, data)
                settings.output_dir = f"{folder}/{row}-{seed}"
                before = time.process_time()
                result = run(settings)
                taken = time.process_time() - before
                record = {"method": name_of(row), "seed": seed, **result.scores}
                record |= {"epochs": result.epochs, "cpu_seconds": round(taken, 1)}
                runs.append(record | {"seconds": round(result.seconds, 1)})
                if result.pixel_scores:
                    name = "k-means on pixels"
                    pixels.append({"method": name, "seed": seed, **result.pixel_scores})
                if options.csv:  # after every run, so that a stop loses little
                    write(options.csv, runs + pixels)
    print(table(runs + pixels))


def write(path: Path, runs: list[dict[str, float | str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = ["method", "seed", "nmi", "acc", "ari", "epochs"]
        columns += ["seconds", "cpu_seconds"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(runs)


def table(runs: list[dict[str, float | str]]) -> str:
    lines = [
        "",
        "| method | seeds | NMI | ACC | lowest ACC | ARI | epochs | CPU seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(str(record["method"]) for record in runs):
        rows = [record for record in runs if record["method"] == method]
        nmi, acc, ari = ([float(r[s]) for r in rows] for s in ("nmi", "acc", "ari"))
        seconds = [float(r["cpu_seconds"]) for r in rows if "cpu_seconds" in r]
        taken = f"{statistics.median(seconds):.0f}" if seconds else ""
        seeds = ", ".join(str(record["seed"]) for record in rows)
        lines.append(
            f"| {method} | {seeds} | {spread(nmi)} | {spread(acc)} | {min(acc):.3f} "
            f"| {spread(ari)} | {rows[0].get('epochs', '')} | {taken} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
