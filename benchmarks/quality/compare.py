r"""Trainings that differ in a few settings, side by side, over several seeds.

    python benchmarks/quality/compare.py
    python benchmarks/quality/compare.py --seeds 0 1 2 --tries "" method=cc
    python benchmarks/quality/compare.py --recipe cifar10 --data cifar10.npz \
        --features --epochs 10 --tries "" model.teacher_momentum=0.99
    python benchmarks/quality/compare.py --recipe small_cifar10 --data cifar10.npz \
        --images 10000 --seeds 0

A try is the recipe with the settings of ``--common`` and its own, quoted as on the
command line; the empty one is the recipe itself. By default: all methods, and HaDis
with cosine k-means as in the paper (no whitening). ``--features`` adds the linear and
nearest-neighbour accuracy of the backbone (see linear_accuracy.py), which vary less
from seed to seed. Finished runs stay in ``--folder`` and are not repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import runpy
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from linear_accuracy import feature_accuracy, write_rows
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hadis_lightly.artifacts.results import EXTERNAL_SCORES
from hadis_lightly.methods import with_method
from hadis_lightly.methods.registry import check_run
from hadis_lightly.runs import run
from hadis_lightly.runs.folder import is_finished
from hadis_lightly.settings import Settings

HERE = Path(__file__).parent
RECIPES = {
    "digits": HERE.parents[1] / "recipes" / "digits.py",
    "cifar10": HERE.parents[1] / "recipes" / "cifar10.py",
    "small_cifar10": HERE / "small_cifar10.py",
}
TRIES = ["", "method=propos", "method=byol", "method=cc", "method=pici"]
TRIES += ["clustering.whiten=false"]
SCORES = (*EXTERNAL_SCORES, "linear", "nearest_neighbours")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--recipe", default="digits", choices=RECIPES)
    add("--data", type=Path, help="npz file with images and labels")
    add("--images", type=int, help="only so many, the same number of each class")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--tries", nargs="+", default=TRIES, metavar="SETTINGS")
    add("--common", default="", metavar="SETTINGS", help="settings of every try")
    add("--epochs", type=int, help="instead of the recipe's, a tenth of them warm-up")
    add("--features", action="store_true", help="score the backbone too")
    add("--folder", type=Path, default=Path("runs/compare"))
    add("--csv", type=Path, help="file for every run")
    return parser.parse_args()


def settings_of(
    options: argparse.Namespace, words: str, seed: int, data: Path | None
) -> Settings:
    """The settings of one run.

    Raises:
        ValueError: If a setting is wrong.
    """
    recipe = runpy.run_path(str(RECIPES[options.recipe]))
    changes: Any = OmegaConf.from_dotlist([*options.common.split(), *words.split()])
    method = changes.pop("method", "hadis")
    own = recipe.get("METHODS", {}).get(method)
    settings = with_method(recipe["SETTINGS"], method, own)
    if options.epochs:
        settings.trainer.max_epochs = options.epochs
        warmup = round(options.epochs / 10)
        settings.optimizer.warmup_epochs = settings.clustering.warmup_epochs = warmup
    if data is not None:
        settings.data.source, settings.data.path = "npz", str(data)
    merged: Any = OmegaConf.merge(OmegaConf.structured(settings), changes)
    settings = OmegaConf.to_object(merged)
    settings.seed, settings.trainer.progress_bar = seed, False
    settings.clustering.pixel_baseline = False
    check_run(settings)
    what = f"{options.recipe} {options.epochs} {options.common} {words} {seed}"
    if data is not None:
        what += f" {data.name} {data.stat().st_size}"
    name = hashlib.sha256(what.encode()).hexdigest()[:8]
    settings.output_dir = str(options.folder / name)
    return settings


def train(settings: Settings, words: str, with_features: bool) -> dict[str, Any]:
    """Trains, unless that is done; scores."""
    folder = Path(str(settings.output_dir))
    if not is_finished(folder):
        settings.trainer.resume = "auto"
        folder = run(settings).output_dir
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {
        "settings": words,
        "seed": settings.seed,
        "epochs": content["epochs"],
        "seconds": round(content["seconds"], 1),
        **{name: content["scores"].get(name, math.nan) for name in EXTERNAL_SCORES},
        **(feature_accuracy(folder)._asdict() if with_features else {}),
        "device": content["device"],
        "commit": content["commit"],
    }


def balanced(path: Path, num_images: int, folder: Path) -> Path:
    """A file with so many of the images, the same number of each class, at random."""
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
    folder.mkdir(parents=True, exist_ok=True)
    found = folder / f"{path.stem}_{len(rows)}.npz"
    of_images = {name for name in arrays if len(arrays[name]) == len(labels)}
    np.savez(found, **{name: arrays[name][rows] for name in of_images})
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and spread over the seeds, one row per try."""
    scores = [name for name in SCORES if name in rows[0]]
    titles = ["settings", "seeds", *scores, "lowest acc", "epochs", "seconds"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for words in dict.fromkeys(row["settings"] for row in rows):
        mine = [row for row in rows if row["settings"] == words]
        cells = [words or "as the recipe", ", ".join(str(row["seed"]) for row in mine)]
        for name in scores:
            values = [row[name] for row in mine]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lowest = min(row["acc"] for row in mine)
        seconds = statistics.median(row["seconds"] for row in mine)
        cells += [f"{lowest:.3f}", str(mine[0]["epochs"]), f"{seconds:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    options = parse()
    data = options.data
    if data is not None and options.images:
        data = balanced(data, options.images, options.folder)
    try:
        runs = [
            (words, settings_of(options, words, seed, data))
            for seed in options.seeds
            for words in options.tries
        ]
    except (ValueError, OmegaConfBaseException) as error:
        raise SystemExit(str(error).splitlines()[0]) from None
    rows: list[dict[str, Any]] = []
    for words, settings in runs:
        rows.append(train(settings, words, options.features))
        if options.csv:
            write_rows(options.csv, rows)  # after every run: an interruption is cheap
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
