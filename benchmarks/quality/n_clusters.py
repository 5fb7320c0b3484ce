r"""The number of clusters: ours beside what others find, on the same embeddings.

    python benchmarks/quality/features.py --data digits --backbone pixels \
        --methods heads --tries model.pcl_weight=0 --folder runs/no_pcl
    python benchmarks/quality/n_clusters.py runs/no_pcl/*/ --markdown n_clusters.md

Takes folders of finished runs, trained without a number of clusters, and npz files with
``embeddings (n, d)``, ``labels (n,)`` and, if it is there, ``features (n, d)``, on
which every method is tried as well. Rows of the table are the sets: files whose names
differ in the last number, ``c3-0.npz`` and ``c3-1.npz``, are draws of one set.

``true K first`` and ``in two`` count the draws in which the true number was chosen, or
was among the two first choices; others than ours have one choice. ``loss`` is the ARI
of our clusters with the true K less the ARI with the chosen one, whoever chose: the
mean and, in brackets, the largest. Others see at most ``--sample`` rows: most of them
take time or memory in the square of their number.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from n_clusters_methods import METHODS, sample
from torch import Tensor
from tries import write_rows

from hadis_lightly.artifacts.results import EMBEDDINGS
from hadis_lightly.cluster import (
    choose_n_clusters,
    clustering_scores,
    fit_partition,
)
from hadis_lightly.cluster.lloyd.arrays import directions

OURS = "choose_n_clusters"


class Case(NamedTuple):
    """One draw of a set."""

    name: str
    draw: str
    labels: Tensor
    spaces: dict[str, Tensor]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("cases", nargs="+", type=Path, help="folders of runs, npz files")
    add("--range", type=int, nargs=2, default=(2, 20), metavar=("LOW", "HIGH"))
    add("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    add("--sample", type=int, default=3000, help="rows that the others see")
    add("--seed", type=int, default=0)
    add("--csv", type=Path, help="file for every row, kept and continued")
    add("--markdown", type=Path, help="file for the table, which is printed too")
    return parser.parse_args()


def read_case(path: Path) -> Case:
    """Embeddings and classes of a run or a file.

    Raises:
        ValueError: If it has no embeddings or an image has no class.
    """
    if path.is_dir():
        with (path / "assignments.csv").open(encoding="utf-8", newline="") as file:
            classes = [int(row.get("target") or -1) for row in csv.DictReader(file)]
        labels = np.array(classes)
        spaces = {"embedding": np.load(path / EMBEDDINGS)}
    else:
        with np.load(path) as content:
            labels = content["labels"]
            spaces = {"embedding": content["embeddings"]}
            if "features" in content.files:
                spaces["features"] = content["features"]
    if len(labels) == 0 or labels.min() < 0:
        raise ValueError(f"{path}: some images have no class: they cannot be scored.")
    name, _, draw = path.stem.rpartition("-")
    if not draw.isdigit():
        name, draw = path.stem, ""
    tensors = {key: torch.from_numpy(value).float() for key, value in spaces.items()}
    return Case(name, draw, torch.from_numpy(labels).long(), tensors)


def rows_of(
    case: Case, space: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row of each method for one space."""
    rows, true = directions(case.spaces[space]), len(case.labels.unique())
    found: dict[int, float] = {}

    def ari(k: int) -> float:
        if k < 2 or k > len(rows) // 4:  # HDBSCAN may find none, or nothing else
            return 0.0
        if k not in found:
            labels = fit_partition(
                rows, k, whiten=True, cosine_start=True, random_state=options.seed
            ).labels
            found[k] = clustering_scores(case.labels, labels)["ari"]
        return found[k]

    done = []

    def add(method: str, choices: list[int], seconds: float) -> None:
        lead = {"set": case.name, "draw": case.draw, "space": space, "method": method}
        second = choices[1] if len(choices) > 1 else ""
        scores = {"true ari": ari(true), "ari": ari(choices[0])}
        done.append(
            {**lead, "true": true, "first": choices[0], "second": second}
            | {name: round(value, 4) for name, value in scores.items()}
            | {"seconds": round(seconds, 1)}
        )

    begin = time.perf_counter()
    low, high = options.range
    choice = choose_n_clusters(rows, (low, high), random_state=options.seed)
    add(OURS, choice.ranking[:2], time.perf_counter() - begin)
    few = sample(rows, options.sample, options.seed)
    for method in options.methods:
        begin = time.perf_counter()
        number = METHODS[method](few, range(low, high + 1), options.seed)
        add(method, [number], time.perf_counter() - begin)
    return done


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table: a row for each set, space and method."""
    titles = ["set", "true K", "on", "method", "draws", "chosen", "true K first"]
    titles += ["in two", "ARI", "at true K", "loss"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    groups = dict.fromkeys((r["set"], r["space"], r["method"]) for r in rows)
    for key in groups:
        mine = [r for r in rows if (r["set"], r["space"], r["method"]) == key]
        true = int(mine[0]["true"])
        losses = [float(r["true ari"]) - float(r["ari"]) for r in mine]
        firsts = [int(r["first"]) for r in mine]
        two = [true in (int(r["first"]), int(r["second"] or 0)) for r in mine]
        cells = [key[0], true, key[1], key[2], len(mine)]
        cells += [", ".join(map(str, firsts)), firsts.count(true), sum(two)]
        cells += [f"{np.mean([float(r[n]) for r in mine]):.3f}" for n in _SCORES]
        cells.append(f"{np.mean(losses):+.3f} ({max(losses):+.3f})")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


_SCORES = ("ari", "true ari")


def main() -> None:
    options = parse()
    done: list[dict[str, Any]] = []
    if options.csv and options.csv.exists():
        with options.csv.open(encoding="utf-8", newline="") as file:
            done = list(csv.DictReader(file))
    kept = {(row["set"], row["draw"], row["space"]) for row in done}
    for path in options.cases:
        try:
            case = read_case(path)
        except (OSError, KeyError, ValueError) as error:
            raise SystemExit(f"{path}: {error}") from None
        for space in case.spaces:
            if (case.name, case.draw, space) in kept:
                continue
            done += rows_of(case, space, options)
            if options.csv:
                write_rows(options.csv, done)
    text = table(done)
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
