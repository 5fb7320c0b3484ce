"""Draws the curves by which the number of clusters is chosen.

    python benchmarks/quality/n_clusters_picture.py runs/no_pcl/*/ --out curves.png

Takes what ``n_clusters.py`` takes; one column for each case. The title has the choice,
a dashed line the true number.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from n_clusters import read_case

from hadis_lightly.cluster import choose_n_clusters


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("cases", nargs="+", type=Path, help="folders of runs, npz files")
    add("--titles", nargs="+", help="one for each case")
    add("--range", type=int, nargs=2, default=(2, 20), metavar=("LOW", "HIGH"))
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("curves.png"))
    return parser.parse_args()


def main() -> None:
    options = parse()
    n = len(options.cases)
    size = (3.6 * n, 4.4)
    figure, axes = plt.subplots(2, n, figsize=size, sharex="col", squeeze=False)
    for i, path in enumerate(options.cases):
        case = read_case(path)
        low, high = options.range
        choice = choose_n_clusters(
            case.spaces["embedding"], (low, high), random_state=options.seed
        )
        numbers = [signs.n_clusters for signs in choice.curve]
        lines = {
            "stability": [signs.stability for signs in choice.curve],
            "weakest cluster": [signs.weakest for signs in choice.curve],
            "without a dip": [signs.unseparated for signs in choice.curve],
        }
        for name, values in lines.items():
            axes[0, i].plot(numbers, values, marker=".", label=name)
        silhouettes = [signs.silhouette for signs in choice.curve]
        axes[1, i].plot(numbers, silhouettes, marker=".", label="silhouette")
        scores = choice.scores
        axes[1, i].plot(numbers, [scores[k] for k in numbers], "k", label="score")
        true = len(case.labels.unique())
        for axis in axes[:, i]:
            axis.axvline(true, color="grey", linestyle="--", linewidth=1)
            axis.plot([choice.n_clusters], [0], "k^", clip_on=False)
            axis.set_ylim(bottom=0)
        title = options.titles[i] if options.titles else path.stem
        axes[0, i].set_title(f"{title}\nchosen {choice.n_clusters}, true {true}")
        axes[1, i].set_xlabel("number of clusters")
    for axis in axes[:, -1]:
        axis.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
