r"""K-means side by side: ours, faiss, scikit-learn and superkmeans.

    python benchmarks/speed/kmeans.py
    python benchmarks/speed/kmeans.py --samples 20000 --clusters 100 --repeats 3
    python benchmarks/speed/kmeans.py --skip scikit-learn faiss --csv kmeans.csv
    python benchmarks/speed/kmeans.py --data modes --samples 100000 --clusters 1000 \
        --restarts 1 --faiss-iterations 25 --quick-iterations 8 --sklearn-init random

Data: ``normalise(mean + spread * noise / sqrt(d))`` around random unit vectors. "clear"
has as many components as clusters and spread 2 (cosine 0.45 of a row to its mean);
"overlapping" has twice as many and spread 4 (cosine 0.24), so local minima differ.
"modes" has three times as many, spread 0.5 and a decaying spectrum (column j scaled by
1 / sqrt(j)).

faiss has no convergence test and makes ``--faiss-iterations`` iterations in every
restart; by default enough to converge (scikit-learn needed at most 43 and 62).
superkmeans makes as many, once. "quick" is ours with one restart, seeds from 32 rows
per cluster, and ``--quick-iterations``. The inertia is computed alike for all methods.
Leave the machine idle, or read the ratios only. Packages that are not installed are
skipped.

On a GPU ours gets data that are already there; the others run on the host.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measuring import (
    build_parser,
    describe_machine,
    in_turns,
    write_rows,
)
from mixture import cosine_inertia, mixture
from sklearn.cluster import KMeans as SklearnKMeans
from torch import Tensor

from hadis_lightly.cluster import KMeans

#: Components per cluster, spread, and decay of the spectrum.
DATA = {
    "clear": (1, 2.0, 0.0),
    "overlapping": (2, 4.0, 0.0),
    "modes": (3, 0.5, 0.5),
}


def fit_ours(rows: Tensor, options: argparse.Namespace) -> Tensor:
    settings = {"n_init": options.restarts, "random_state": options.seed}
    return (
        KMeans(options.clusters, max_iter=options.max_iter, **settings)
        .fit(rows)
        .labels_
    )


def fit_quick(rows: Tensor, options: argparse.Namespace) -> Tensor:
    settings = {"n_init": 1, "random_state": options.seed}
    settings["max_iter"] = options.quick_iterations
    kmeans = KMeans(options.clusters, subsample=32 * options.clusters, **settings)
    return kmeans.fit(rows).labels_


def fit_sklearn(rows: Tensor, options: argparse.Namespace) -> Tensor:
    k, restarts = options.clusters, options.restarts
    settings = {"n_init": restarts, "random_state": options.seed}
    fitted = SklearnKMeans(k, init=options.sklearn_init, **settings)
    return torch.from_numpy(fitted.fit(rows.numpy()).labels_)


def fit_faiss(rows: Tensor, options: argparse.Namespace) -> Tensor:
    import faiss

    faiss.omp_set_num_threads(options.threads)
    array = rows.numpy()
    fitted = faiss.Kmeans(
        rows.shape[1],
        options.clusters,
        niter=options.faiss_iterations,
        nredo=options.restarts,
        spherical=True,
        seed=options.seed,
        # The default trains on a sample of 256 rows per cluster only.
        max_points_per_centroid=len(array),
    )
    fitted.train(array)
    return torch.from_numpy(fitted.index.search(array, 1)[1][:, 0])


def fit_superkmeans(rows: Tensor, options: argparse.Namespace) -> Tensor:
    import superkmeans

    array = rows.numpy()
    fitted = superkmeans.SuperKMeans(
        options.clusters,
        rows.shape[1],
        iters=options.faiss_iterations,
        sampling_fraction=1.0,
        n_threads=options.threads,
        seed=options.seed,
        angular=True,
    )
    labels = fitted.assign(array, fitted.train(array))
    return torch.from_numpy(labels.astype("int64"))


#: Functions, and the package that each needs.
METHODS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "hadis_lightly": (fit_ours, "hadis_lightly"),
    "quick": (fit_quick, "hadis_lightly"),
    "scikit-learn": (fit_sklearn, "sklearn"),
    "faiss": (fit_faiss, "faiss"),
    "superkmeans": (fit_superkmeans, "superkmeans"),
}


def chosen_methods(options: argparse.Namespace) -> dict[str, Callable[..., Tensor]]:
    found = {}
    for name, (fit, package) in METHODS.items():
        if name in options.skip or (name == "quick" and not options.quick_iterations):
            continue
        if importlib.util.find_spec(package) is None:
            print(f"{name} is not installed: skipped")
        else:
            found[name] = fit
    return found


def measure(
    data: str, methods: dict[str, Callable[..., Tensor]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for every method and repeat."""
    per_cluster, spread, decay = DATA[data]
    components = per_cluster * options.clusters
    size = (options.samples, options.dim)
    rows = mixture(*size, components, spread, options.seed, decay)
    rows_there = rows.to(options.device)
    # The first products start threads and load libraries.
    KMeans(options.clusters, n_init=1, max_iter=2).fit(
        rows_there[: 20 * options.clusters]
    )
    labels: dict[str, Tensor] = {}

    def run(name: str, fit: Callable[..., Tensor]) -> None:
        labels[name] = fit(
            rows_there if fit in (fit_ours, fit_quick) else rows, options
        )

    works = {name: partial(run, name, fit) for name, fit in methods.items()}
    on_gpu = options.device != "cpu"  # kernels are built or chosen by size
    seconds = in_turns(works, options.repeats, options.device, int(on_gpu))
    k = options.clusters
    inertia = {name: cosine_inertia(rows, found, k) for name, found in labels.items()}
    return [
        {"data": data, "method": name, "repeat": i, "seconds": taken}
        | {"inertia": inertia[name]}
        for name, all_taken in seconds.items()
        for i, taken in enumerate(all_taken)
    ]


def print_rows(rows: list[dict[str, Any]]) -> None:
    best = min(row["inertia"] for row in rows)
    seconds: dict[str, list[float]] = {}
    for row in rows:
        seconds.setdefault(row["method"], []).append(row["seconds"])
    inertia = {row["method"]: row["inertia"] for row in rows}
    own = statistics.median(seconds["hadis_lightly"])
    for name, times in seconds.items():
        median = statistics.median(times)
        low, _, high = (
            statistics.quantiles(times, n=4) if len(times) > 1 else [median] * 3
        )
        print(
            f"{rows[0]['data']:<12} {name:<14} {median:8.2f} {low:8.2f} {high:8.2f} "
            f"{median / own:6.2f}x "
            f"{inertia[name] / best - 1:15.1e}",
            flush=True,
        )


def main() -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-iter", type=int, default=300, help="of ours")
    parser.add_argument("--faiss-iterations", type=int, default=60)
    parser.add_argument("--quick-iterations", type=int, default=0)
    parser.add_argument("--sklearn-init", default="k-means++")
    standard = ["clear", "overlapping"]
    parser.add_argument("--data", choices=list(DATA), nargs="+", default=standard)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", choices=list(METHODS)[1:], nargs="+", default=[])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{options.samples} x {options.dim}, K {options.clusters}, "
        f"{options.restarts} restarts, {describe_machine(options)}, "
        f"median and quartiles of {options.repeats}"
    )
    methods = chosen_methods(options)
    print(
        "data         method          seconds   lower    upper   ratio inertia/best-1"
    )
    runs: list[dict[str, Any]] = []
    for data in options.data:
        rows = measure(data, methods, options)
        print_rows(rows)
        runs += rows
        write_rows(options.csv, runs)  # after every data set: an interruption is cheap


if __name__ == "__main__":
    main()
