r"""Short trainings that differ in a few settings, side by side: what helps early on?

    python benchmarks/short_runs.py --data cifar10.npz --epochs 10 --tries "" \
        "model.teacher_momentum=0.99" "loader.batch_size=1024 trainer.compile=off"
    python benchmarks/short_runs.py --recipe small_cifar10 --data c10.npz --images 5000

Every try is the recipe with the settings of ``--common`` and its own, each in quotes as
on a command line; the empty one is the recipe itself. What a training has learnt is
measured three ways: its clusters (NMI, ACC, ARI), and the linear and nearest-neighbour
accuracy of its features (see linear_accuracy.py), which vary less from seed to seed.
Finished tries stay in ``--folder``, and are not run again.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import statistics
from pathlib import Path
from typing import Any

from csv_rows import write_rows
from linear_accuracy import feature_accuracy
from methods import balanced
from omegaconf.errors import OmegaConfBaseException
from recipe_settings import changed, recipe_of

from hadis_lightly.methods.registry import check_run
from hadis_lightly.runs import run
from hadis_lightly.runs.folder import is_finished
from hadis_lightly.settings import Settings

SCORES = ("nmi", "acc", "ari", "linear", "nearest_neighbours")
#: What is tried if nothing is said: the means that a short training is likely to need.
TRIES = (
    "",
    "model.teacher_momentum=0.99",
    "model.teacher_momentum=0.99 model.final_teacher_momentum=1.0",
    "loader.batch_size=512",
    "loader.batch_size=512 model.teacher_momentum=0.992",
    "optimizer.learning_rate=0.1",
    "model.concatenate_views=true",
    "views.min_scale=0.2",
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--recipe", default="cifar10", choices=["cifar10", "small_cifar10", "digits"]
    )
    parser.add_argument("--data", type=Path, help="npz file with images and labels")
    parser.add_argument("--images", type=int, help="only so many, of each class alike")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tries", nargs="+", default=list(TRIES), metavar="SETTINGS")
    parser.add_argument(
        "--common",
        default="",
        metavar="SETTINGS",
        help="settings of every try; by default a tenth of the epochs is warm-up",
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/short"))
    parser.add_argument("--csv", type=Path, help="file for every run")
    return parser.parse_args()


def settings_of(
    options: argparse.Namespace, words: str, seed: int, data: Path | None
) -> Settings:
    """The settings of one run.

    Raises:
        ValueError: If a setting is wrong.
    """
    settings: Settings = copy.deepcopy(recipe_of(options.recipe)["SETTINGS"])
    warmup = round(options.epochs / 10)
    settings.trainer.max_epochs = options.epochs
    settings.optimizer.warmup_epochs = settings.clustering.warmup_epochs = warmup
    settings.trainer.progress_bar = False
    settings.clustering.pixel_baseline = False
    settings.seed = seed
    if data is not None:
        settings.data.source, settings.data.path = "npz", str(data)
    settings = changed(settings, [*options.common.split(), *words.split()])
    check_run(settings)
    what = f"{options.recipe} {options.epochs} {options.common}"
    if data is not None:
        what += f" {data.name} {data.stat().st_size}"
    number = hashlib.sha256(f"{what} {words} {seed}".encode()).hexdigest()[:8]
    settings.output_dir = str(options.folder / number)
    return settings


def result_of(settings: Settings, words: str) -> dict[str, Any]:
    """Trains, unless that is done; scores."""
    folder = Path(str(settings.output_dir))
    if not is_finished(folder):
        settings.trainer.resume = "auto"
        folder = run(settings).output_dir
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    path = settings.data.path
    accuracy = feature_accuracy(folder, None if path is None else Path(path))
    return {
        "settings": words,
        "seed": settings.seed,
        "epochs": content["epochs"],
        "seconds": round(content["seconds"], 1),
        **content["scores"],
        **accuracy._asdict(),
        "device": content["device"],
        "commit": content["commit"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Means over the seeds, a row for each try."""
    lines = [
        "| settings | seeds | NMI | ACC | ARI | linear | kNN | s/epoch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for words in dict.fromkeys(row["settings"] for row in rows):
        mine = [row for row in rows if row["settings"] == words]
        seeds = ", ".join(str(row["seed"]) for row in mine)
        means = (f"{statistics.mean(r[s] for r in mine):.3f}" for s in SCORES)
        pace = statistics.median(row["seconds"] / row["epochs"] for row in mine)
        name = words or "as the recipe"
        lines.append(f"| {name} | {seeds} | {' | '.join(means)} | {pace:.1f} |")
    return "\n".join(lines)


def main() -> None:
    options = parse()
    rows: list[dict[str, Any]] = []
    data = options.data
    if data is not None and options.images:
        options.folder.mkdir(parents=True, exist_ok=True)
        data = balanced(data, options.images, options.folder)
    try:
        runs = [
            (words, settings_of(options, words, seed, data))
            for seed in options.seeds
            for words in options.tries
        ]
    except (ValueError, OmegaConfBaseException) as error:
        raise SystemExit(f"{str(error).splitlines()[0]}") from None
    for words, settings in runs:
        rows.append(result_of(settings, words))
        if options.csv:  # after every run, so that a stop loses little
            write_rows(options.csv, rows)
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
