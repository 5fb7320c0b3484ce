"""Clusters by merging more of them, and how well levels agree with coarser classes.

    python benchmarks/quality/levels.py runs/photos --csv levels.csv
    python benchmarks/quality/levels.py c10.npz lt50.npz --coarse 0 1 8 9 --linkages

Each file is the folder of a run on images of known class, or an npz file with
``embeddings`` (or ``E``) and ``targets`` (or ``y``). For every seed, k-means as in
``hadis-lightly-train`` finds as many clusters as there are classes, two times and three
times as many (``--factors``), and the tree merges them until as many as classes are
left. ``smallest`` is the recall of the three smallest classes: the share of their
images that lie in the cluster that stands for their class. ``coarse`` is the ARI of two
clusters and two groups of classes: those that ``--coarse`` names, by number, and the
others.
``--linkages`` sets other ways to merge beside the tree's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.cluster.hierarchy import linkage
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from tries import write_rows

from hadis_lightly.artifacts.saved_run import load_run
from hadis_lightly.cluster import (
    ClusterTree,
    PrototypePartition,
    clustering_scores,
    fit_partition,
    fit_tree,
    match_clusters,
)

NUM_SMALLEST = 3


def embedded_set(path: Path) -> tuple[Tensor, np.ndarray]:
    """Embeddings and class numbers of the images of known class."""
    if path.suffix == ".npz":
        with np.load(path) as content:
            embeddings, targets = (
                content[next(name for name in names if name in content)]
                for names in (("embeddings", "E"), ("targets", "y"))
            )
    else:
        run = load_run(path)
        if run.assignments.targets is None:
            raise SystemExit(f"{path} has no classes")
        embeddings, targets = run.embeddings, run.assignments.targets
    known = targets >= 0
    return torch.from_numpy(embeddings[known]), targets[known]


def trees(
    partition: PrototypePartition, embeddings: Tensor, with_others: bool
) -> dict[str, ClusterTree]:
    """Trees over the same clusters, by what decides which of them join."""
    own = fit_tree(partition, embeddings)
    if not with_others:
        return {"neighbours": own}
    centers, prototypes = partition.centers.numpy(), partition.prototypes.numpy()
    others = {
        "cosine of centres": linkage(centers, "average", metric="cosine"),
        "cosine of prototypes": linkage(prototypes, "average", metric="cosine"),
        "distance of centres": linkage(centers, "average"),
        "Ward on centres": linkage(centers, "ward"),
    }
    return {"neighbours": own} | {
        name: ClusterTree(
            torch.from_numpy(joins[:, :2].astype(int)), own.links, own.splits
        )
        for name, joins in others.items()
    }


def smallest_recall(targets: np.ndarray, labels: np.ndarray) -> float:
    """Mean recall of the smallest classes, by the cluster that stands for each."""
    clusters = {t: c for c, t in match_clusters(targets, labels)[0].items()}
    smallest = np.argsort(np.bincount(targets), kind="stable")[:NUM_SMALLEST]
    return float(
        np.mean(
            [(labels[targets == t] == clusters.get(t, -1)).mean() for t in smallest]
        )
    )


def rows_of(path: Path, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each number of clusters and each tree."""
    embeddings, targets = embedded_set(path)
    coarse = np.isin(targets, options.coarse)
    classes, targets = np.unique(targets, return_inverse=True)
    n_classes = len(classes)
    rows = []
    for factor in options.factors:
        partition = fit_partition(
            embeddings,
            factor * n_classes,
            whiten=True,
            cosine_start=True,
            random_state=seed,
        )
        for name, tree in trees(partition, embeddings, options.linkages).items():
            labels = tree.groups(n_classes)[partition.labels].numpy()
            row = {"set": path.stem, "seed": seed, "found": partition.n_clusters}
            row |= {"merged by": name} | clustering_scores(targets, labels)
            row["smallest"] = smallest_recall(targets, labels)
            two = tree.groups(2)[partition.labels].numpy()
            has_both = coarse.any() and not coarse.all()
            row["coarse"] = adjusted_rand_score(coarse, two) if has_both else np.nan
            rows.append(row)
    return rows


def print_means(rows: list[dict[str, Any]]) -> None:
    """Means over the seeds, as a table in Markdown."""
    names = ("nmi", "acc", "ari", "smallest", "coarse")
    print(f"| set | clusters | merged by | {' | '.join(names)} |")
    print("|" + "---|" * (3 + len(names)))
    keys = dict.fromkeys((r["set"], r["found"], r["merged by"]) for r in rows)
    for key in keys:
        same = [r for r in rows if (r["set"], r["found"], r["merged by"]) == key]
        means = [f"{np.mean([row[name] for row in same]):.3f}" for name in names]
        print(f"| {' | '.join([*map(str, key), *means])} |")


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--factors", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--coarse", nargs="+", type=int, default=[])
    parser.add_argument("--linkages", action="store_true")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = [
        row
        for path in options.sets
        for seed in options.seeds
        for row in rows_of(path, seed, options)
    ]
    print_means(rows)
    if options.csv is not None:
        write_rows(options.csv, rows)


if __name__ == "__main__":
    main()
