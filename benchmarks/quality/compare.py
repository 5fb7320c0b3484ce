r"""Trainings that differ in a few settings, side by side, over several seeds.

    python benchmarks/quality/compare.py
    python benchmarks/quality/compare.py --seeds 0 1 2 --tries "" method=cc
    python benchmarks/quality/compare.py --recipe cifar10 --data cifar10.npz \
        --features --epochs 10 --tries "" model.teacher_momentum=0.99
    python benchmarks/quality/compare.py --recipe small_cifar10 --data cifar10.npz \
        --images 10000 --seeds 0
    python benchmarks/quality/compare.py --recipe small_cifar10 --data cifar10.npz \
        --features --tflop 20 --tries "" "views.n_views=4 model.teacher_target=mean"

A try is the recipe with the settings of ``--common`` and its own, quoted as on the
command line; the empty one is the recipe itself. By default: all methods, and HaDis
with cosine k-means as in the paper (no whitening). ``--features`` adds the linear and
nearest-neighbour accuracy of the backbone (see linear_accuracy.py), which vary less
from seed to seed. ``--tflop`` gives every try as many floating-point operations (see
flops.py), hence its own number of steps. Finished runs stay in ``--folder`` and are not
repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import runpy
from pathlib import Path
from typing import Any

from flops import fit_to_budget
from linear_accuracy import feature_accuracy
from omegaconf.errors import OmegaConfBaseException
from tries import (
    balanced,
    merged,
    parse_words,
    results_of,
    scores_in,
    table,
    write_rows,
)

from hadis_lightly.artifacts.results import EXTERNAL_SCORES
from hadis_lightly.methods import with_method
from hadis_lightly.methods.registry import check_run
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
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs", type=int, help="instead of the recipe's, a tenth of them warm-up"
    )
    length.add_argument(
        "--tflop", type=float, help="length of every try, in 1e12 operations"
    )
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
    method, changes = parse_words(f"{options.common} {words}")
    own = recipe.get("METHODS", {}).get(method)
    settings = with_method(recipe["SETTINGS"], method, own)
    if options.epochs:
        settings.trainer.max_epochs = options.epochs
        warmup = round(options.epochs / 10)
        settings.optimizer.warmup_epochs = settings.clustering.warmup_epochs = warmup
    if options.tflop:
        settings.optimizer.warmup_epochs = settings.clustering.warmup_epochs = None
    if data is not None:
        settings.data.source, settings.data.path = "npz", str(data)
    settings = merged(settings, changes)
    settings.seed, settings.trainer.progress_bar = seed, False
    settings.clustering.pixel_baseline = False
    check_run(settings)
    if options.tflop:
        fit_to_budget(settings, 1e12 * options.tflop)
        check_run(settings)
    length = f"{options.tflop} TFLOP" if options.tflop else options.epochs
    what = f"{options.recipe} {length} {options.common} {words} {seed}"
    if data is not None:
        what += f" {data.name} {data.stat().st_size}"
    name = hashlib.sha256(what.encode()).hexdigest()[:8]
    settings.output_dir = str(options.folder / name)
    return settings


def train(settings: Settings, words: str, with_features: bool) -> dict[str, Any]:
    """Trains, unless that is done; scores."""
    folder, content = results_of(settings)
    return {
        "settings": words,
        "seed": settings.seed,
        "epochs": content["epochs"],
        "seconds": round(content["seconds"], 1),
        **scores_in(content["scores"]),
        **(feature_accuracy(folder)._asdict() if with_features else {}),
        "device": content["device"],
        "commit": content["commit"],
    }


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
    scores = [name for name in SCORES if name in rows[0]]
    print("\n" + table(rows, ["settings"], scores, ["epochs", "seconds"]))


if __name__ == "__main__":
    main()
