"""HaDis, ProPos, BYOL and k-means on pixels: one table on digits, the same budget.

    python benchmarks/methods.py
    python benchmarks/methods.py --seeds 0 1 2 3 4 --methods hadis hadis-paper

Every row is the recipe with flags alone; ``-paper`` rows cluster as the paper does,
by cosine k-means, without the recipe's whitening. Scores are mean +- standard
deviation over the seeds, ACC also as the lowest; ``--csv`` keeps every run.
"""

from __future__ import annotations

import argparse
import copy
import csv
import runpy
import statistics
import tempfile
from pathlib import Path

from hadis_lightly.training import Settings, run

RECIPES = Path(__file__).parents[1] / "recipes"
METHODS = {
    "hadis": {},
    "propos": {"hsd_weight": 0.0},
    "byol": {"hsd_weight": 0.0, "pcl_weight": 0.0},
}
NAMES = {"hadis": "HaDis", "propos": "ProPos (no HSD)", "byol": "BYOL (no HSD, no PCL)"}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["hadis", "propos", "byol", "hadis-paper"],
        choices=[*METHODS, *(f"{method}-paper" for method in METHODS)],
    )
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--engine", default="auto", help="data.engine of all runs")
    parser.add_argument("--csv", type=Path, help="file for the score of every run")
    return parser.parse_args()


def settings_of(options: argparse.Namespace, row: str, seed: int) -> Settings:
    recipe = runpy.run_path(str(RECIPES / f"{options.recipe}.py"))
    settings: Settings = copy.deepcopy(recipe["SETTINGS"])
    method, _, paper = row.partition("-")
    for name, value in METHODS[method].items():
        setattr(settings.model, name, value)
    settings.clustering.whiten &= not paper
    settings.clustering.pixel_baseline = True
    settings.seed = seed
    settings.trainer.progress_bar = False
    settings.data.engine = options.engine
    if options.epochs:
        settings.trainer.max_epochs = options.epochs
    return settings


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
        for seed in options.seeds:
            for row in options.methods:
                settings = settings_of(options, row, seed)
                settings.output_dir = f"{folder}/{row}-{seed}"
                result = run(settings)
                record = {"method": name_of(row), "seed": seed, **result.scores}
                runs.append(record | {"seconds": round(result.seconds, 1)})
                if row == options.methods[0] and result.pixel_scores:
                    name = "k-means on pixels"
                    pixels.append({"method": name, "seed": seed, **result.pixel_scores})
            if options.csv:  # after every seed, so that a stop loses little
                write(options.csv, runs + pixels)
    print(table(runs + pixels))


def write(path: Path, runs: list[dict[str, float | str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = ["method", "seed", "nmi", "acc", "ari", "seconds"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(runs)


def table(runs: list[dict[str, float | str]]) -> str:
    lines = [
        "",
        "| method | seeds | NMI | ACC | lowest ACC | ARI | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(str(record["method"]) for record in runs):
        rows = [record for record in runs if record["method"] == method]
        nmi, acc, ari = ([float(r[s]) for r in rows] for s in ("nmi", "acc", "ari"))
        seconds = [float(r["seconds"]) for r in rows if "seconds" in r]
        time = f"{statistics.median(seconds):.0f}" if seconds else ""
        seeds = ", ".join(str(record["seed"]) for record in rows)
        lines.append(
            f"| {method} | {seeds} | {spread(nmi)} | {spread(acc)} | {min(acc):.3f} "
            f"| {spread(ari)} | {time} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
