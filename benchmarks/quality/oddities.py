"""How well a run finds images that do not belong: planted among the digits.

    python benchmarks/oddities.py --seeds 10 11 12 --cifar10 cifar10.npz

Of the 1,797 digits 90 are replaced, a third each: the mean of two digits of different
classes; a grey photograph of CIFAR-10, made as small; a digit turned by 90 degrees (0,
1 and 8 in negative). HaDis trains as the demo does, without knowing. Images are ranked
by what `assignments.csv` says of them; the area under the precision-recall curve is
0.05 by chance and 1 if all 90 come first.
"""

from __future__ import annotations

import argparse
import copy
import csv
import runpy
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

from hadis_lightly.artifacts.assignments import Assignments, read_assignments
from hadis_lightly.runs import run

RECIPE = Path(__file__).parents[1] / "recipes" / "digits.py"
KINDS = ("mixture", "photograph", "turned")
NUM_EACH = 30
MEASURES = ("isolation", "confidence", "distance")


def plant(
    seed: int, cifar10: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Images, classes, and the kind of each: -1 for a digit as it was."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    images = digits.images.astype(np.float32) * 255 / 16
    targets, kinds = digits.target, np.full(len(images), -1)
    with np.load(cifar10) as content:
        photographs = content["images"]
    before = images.copy()
    chosen = rng.choice(len(images), len(KINDS) * NUM_EACH, replace=False)
    for number, row in enumerate(chosen):
        kinds[row] = number % len(KINDS)
        if kinds[row] == 0:
            other = rng.choice(np.flatnonzero(targets != targets[row]))
            images[row] = (before[row] + before[other]) / 2
        elif kinds[row] == 1:
            grey = photographs[rng.integers(len(photographs))].mean(axis=2)
            images[row] = grey.reshape(8, 4, 8, 4).mean(axis=(1, 3))
        elif targets[row] in (0, 1, 8):
            images[row] = 255 - before[row]
        else:
            images[row] = np.rot90(before[row])
    return images.round().clip(0, 255).astype(np.uint8), targets, kinds


def areas(table: Assignments, kinds: npt.NDArray[np.int64]) -> list[dict[str, object]]:
    """Area under the precision-recall curve, of every measure and kind."""
    values = {
        "isolation": table.isolation,
        "confidence": -table.confidence,
        "distance": table.distance,
    }
    rows: list[dict[str, object]] = []
    for kind, name in [(None, "all"), *enumerate(KINDS)]:
        among = (
            np.ones(len(kinds), bool) if kind is None else (kinds < 0) | (kinds == kind)
        )
        is_odd = kinds[among] >= 0
        for measure in MEASURES:
            area = average_precision_score(is_odd, values[measure][among])
            rows.append({"kind": name, "measure": measure, "area": round(area, 4)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--cifar10", type=Path, required=True, help="npz of images")
    parser.add_argument("--epochs", type=int, help="fewer, for a try")
    parser.add_argument("--csv", type=Path, help="where to write all figures")
    options = parser.parse_args()
    recipe = runpy.run_path(str(RECIPE))["SETTINGS"]
    found: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            images, targets, kinds = plant(seed, options.cifar10)
            path = Path(folder) / f"{seed}.npz"
            np.savez(path, images=images, labels=targets)
            settings = copy.deepcopy(recipe)
            settings.seed, settings.quiet = seed, True
            settings.data.source, settings.data.path = "npz", str(path)
            settings.clustering.pixel_baseline = False
            settings.output_dir = str(Path(folder) / f"run{seed}")
            if options.epochs:
                settings.trainer.max_epochs = options.epochs
            result = run(settings)
            rows = areas(read_assignments(result.output_dir), kinds)
            found += [
                {"seed": seed, "acc": result.scores["acc"], **row} for row in rows
            ]
            print(f"seed {seed}: ACC {result.scores['acc']:.3f}", flush=True)
    print(f"{'':12}" + "".join(f"{measure:>18}" for measure in MEASURES))
    for kind in ("all", *KINDS):
        cells = []
        for measure in MEASURES:
            of = [
                float(str(row["area"]))
                for row in found
                if (row["kind"], row["measure"]) == (kind, measure)
            ]
            spread = np.std(of, ddof=1) if len(of) > 1 else 0.0
            cells.append(f"{np.mean(of):.3f} +- {spread:.3f}")
        print(f"{kind:12}" + "".join(f"{cell:>18}" for cell in cells))
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found)


if __name__ == "__main__":
    main()
