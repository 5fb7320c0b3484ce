r"""Heads that start from examples of each class, beside the same run without them.

    python benchmarks/quality/names.py --seeds 0 1 2 --examples 3 10

Digits, their pixels as features, as many clusters as classes. ``names`` is the accuracy
of the images which are no examples, each cluster standing for the name that it was
given; ``without`` that of the run without names, under the best matching of its
clusters; ``pixels`` and ``embeddings`` those of the nearest example, among the pixels
and among the embeddings of the run without names.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from features import base_settings, settings_of_try
from tries import results_of

from hadis_lightly.artifacts.assignments import read_assignments
from hadis_lightly.artifacts.results import EMBEDDINGS
from hadis_lightly.cluster import clustering_scores
from hadis_lightly.data import load_source

IntArray = npt.NDArray[np.int64]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--examples", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--folder", type=Path, default=Path("runs/names"))
    return parser.parse_args()


def draw_examples(targets: IntArray, number: int, seed: int) -> IntArray:
    """So many images of each class, at random."""
    generator = np.random.default_rng(100 + seed)
    classes = [np.flatnonzero(targets == name) for name in np.unique(targets)]
    return np.concatenate([generator.choice(c, number, replace=False) for c in classes])


def write_names(path: Path, keys: list[str], targets: IntArray) -> None:
    """What a report would have downloaded."""
    place = {"cluster": 0, "confidence": 0, "distance": 0}
    images = {
        key: {"label": str(target), **place}
        for key, target in zip(keys, targets.tolist(), strict=True)
    }
    content = {"format": "hadis-lightly names 1", "run": "", "n_clusters": 10}
    content |= {"names": {}, "split": [], "rejected": [], "images": images}
    path.write_text(json.dumps(content), encoding="utf-8")


def nearest_example(
    rows: npt.NDArray[np.float32], examples: IntArray, targets: IntArray
) -> IntArray:
    """Class of the nearest example of each row, by the cosine."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return targets[examples[(unit @ unit[examples].T).argmax(axis=1)]]


def main() -> None:
    options = parse()
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = {"data": "digits", "backbone": "pixels", "weights": None}
    wanted |= {"images": None, "ratio": None, "draw": 0, "plain_crop": None}
    base = base_settings(argparse.Namespace(**wanted, folder=options.folder))
    source = load_source("npz", str(base.data.path))
    targets = source.targets
    pixels = np.stack([np.asarray(source.read(i)).ravel() for i in range(len(source))])
    print("examples  seed  without  pixels  embeddings  names")
    for seed in options.seeds:
        settings = settings_of_try(base, "", seed)
        settings.quiet = True
        settings.output_dir = str(options.folder / f"without_{seed}")
        plain, _ = results_of(copy.deepcopy(settings))
        embeddings = np.load(plain / EMBEDDINGS).astype(np.float32)
        for number in options.examples:
            examples = draw_examples(targets, number, seed)
            rest = np.setdiff1d(np.arange(len(targets)), examples)
            path = options.folder / f"names_{number}_{seed}.json"
            write_names(path, [source.keys[i] for i in examples], targets[examples])
            settings.names = str(path)
            settings.output_dir = str(options.folder / f"names_{number}_{seed}")
            found, _ = results_of(copy.deepcopy(settings))
            without = read_assignments(plain).labels[rest]
            shown = [clustering_scores(targets[rest], without)["acc"]]
            for labels in (
                nearest_example(pixels.astype(np.float32), examples, targets),
                nearest_example(embeddings, examples, targets),
                read_assignments(found).labels,  # names are sorted as classes are
            ):
                shown.append(float((labels == targets)[rest].mean()))
            scores = "  ".join(f"{score:.3f}" for score in shown)
            print(f"{number:8}  {seed:4}  {scores}", flush=True)


if __name__ == "__main__":
    main()
