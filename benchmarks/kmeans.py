"""K-means side by side: ours, faiss, scikit-learn, flash-kmeans, in one process.

    python benchmarks/kmeans.py
    python benchmarks/kmeans.py --samples 20000 --clusters 100 --repeats 3
    python benchmarks/kmeans.py --device cuda --skip scikit-learn faiss --csv kmeans.csv

Data: rows of length one, drawn from a mixture of Gaussians around random unit vectors,
``normalise(mean + spread * noise / sqrt(d))``. "clear" has as many components as
clusters and spread 2 (each row has cosine 0.45 to its mean); "overlapping" has twice
as many components as clusters and spread 4 (cosine 0.24), so that local minima differ.

faiss makes exactly ``--faiss-iterations`` iterations in every restart, for it has no
test of convergence. The default lets all of them converge: scikit-learn's single runs
took up to 43 iterations on "clear" and up to 62 on "overlapping". The inertia
is the cosine one of the labels, computed alike for all of them in float64. Leave the
machine idle, or read the ratios only. faiss is left out if it is not installed.

On a GPU the data lie there before the clock starts; faiss (faiss-cpu) and scikit-learn
have them on the host. flash-kmeans (``pip install flash-kmeans``) runs on a GPU only:
all restarts as one batch, in float32, with rounded factors in its products (TF32).
It seeds with random rows only. Its test of convergence looks at the largest move of a
centre; it gets ours, the sum of all moves, as its bound.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans as SklearnKMeans
from torch import Tensor

from hadis_lightly.cluster import KMeans

DATA = {"clear": (1, 2.0), "overlapping": (2, 4.0)}
OTHERS = ("scikit-learn", "faiss", "flash-kmeans")

Cluster = Callable[[Tensor, argparse.Namespace], Tensor]


def mixture(options: argparse.Namespace, *, name: str) -> Tensor:
    per_cluster, spread = DATA[name]
    generator = torch.Generator().manual_seed(options.seed)
    components = per_cluster * options.clusters
    means = torch.randn(components, options.dim, generator=generator)
    component = torch.randint(components, (options.samples,), generator=generator)
    noise = torch.randn(options.samples, options.dim, generator=generator)
    rows = F.normalize(means, dim=1)[component] + spread * noise / options.dim**0.5
    return F.normalize(rows, dim=1)


def cosine_inertia(rows: Tensor, labels: Tensor, k: int) -> float:
    """Sum of squared distances to the normalised means of the clusters."""
    sums = torch.zeros(k, rows.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels.cpu().long(), rows.double())
    return float(2 * len(rows) - 2 * torch.linalg.vector_norm(sums, dim=1).sum())


def ours(rows: Tensor, options: argparse.Namespace) -> Tensor:
    kmeans = KMeans(
        options.clusters, n_init=options.restarts, random_state=options.seed
    )
    labels = kmeans.fit(rows).labels_
    if rows.is_cuda:
        torch.cuda.synchronize()
    return labels


def scikit_learn(rows: Tensor, options: argparse.Namespace) -> Tensor:
    kmeans = SklearnKMeans(
        options.clusters, n_init=options.restarts, random_state=options.seed
    )
    return torch.from_numpy(kmeans.fit(rows.numpy()).labels_)


def faiss_spherical(rows: Tensor, options: argparse.Namespace) -> Tensor:
    import faiss

    array = rows.numpy()
    kmeans = faiss.Kmeans(
        rows.shape[1],
        options.clusters,
        niter=options.faiss_iterations,
        nredo=options.restarts,
        spherical=True,
        seed=options.seed,
        # Its default trains on a sample of 256 rows per cluster only.
        max_points_per_centroid=len(array),
    )
    kmeans.train(array)
    return torch.from_numpy(kmeans.index.search(array, 1)[1][:, 0])


def flash(rows: Tensor, options: argparse.Namespace) -> Tensor:
    from flash_kmeans import batch_kmeans_Cosine

    torch.manual_seed(options.seed)
    # Ours has converged when the squared moves of all centres sum to this.
    move = KMeans(options.clusters).tol * rows.var(dim=0, correction=0).mean()
    labels, _, _ = batch_kmeans_Cosine(
        rows.expand(options.restarts, -1, -1),
        options.clusters,
        max_iters=KMeans(options.clusters).max_iter,
        tol=float(move.sqrt()),
    )
    # It says nothing about which restart is the best.
    sums = rows.new_zeros(options.restarts, options.clusters, rows.shape[1])
    for of_one, own in zip(sums, labels, strict=True):
        of_one.index_add_(0, own, rows)
    best = torch.linalg.vector_norm(sums, dim=2).sum(dim=1).argmax()
    labels = labels[best]
    torch.cuda.synchronize()
    return labels


def methods(options: argparse.Namespace) -> dict[str, Cluster]:
    found: dict[str, Cluster] = {"hadis_lightly": ours}
    if "scikit-learn" not in options.skip:
        found["scikit-learn"] = scikit_learn
    if "faiss" not in options.skip:
        try:
            import faiss
        except ImportError:
            print("faiss is not installed: left out")
        else:
            faiss.omp_set_num_threads(options.threads)
            found["faiss"] = faiss_spherical
    if "flash-kmeans" not in options.skip and options.device != "cpu":
        try:
            import flash_kmeans  # noqa: F401
        except ImportError:
            print("flash-kmeans is not installed: left out")
        else:
            found["flash-kmeans"] = flash
    return found


def write(path: Path, rows: list[tuple[str, str, int, float, float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["data", "method", "repeat", "seconds", "inertia"])
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--faiss-iterations", type=int, default=60)
    parser.add_argument("--data", choices=list(DATA), nargs="+", default=list(DATA))
    parser.add_argument("--seed", type=int, default=0)
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default_device, help="of ours")
    parser.add_argument("--skip", choices=OTHERS, nargs="+", default=[])
    parser.add_argument("--csv", type=Path, help="file for every repeat")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    device = options.device
    if device != "cpu":
        device = torch.cuda.get_device_name()
    print(
        f"{options.samples} x {options.dim}, K {options.clusters}, "
        f"{options.restarts} restarts, {options.threads} threads, ours on {device}, "
        f"median of {options.repeats}"
    )
    header = f"{'data':<12} {'method':<14} {'seconds':>8} {'ratio':>7}"
    print(header + f" {'inertia/best-1':>15}")
    candidates = methods(options)
    runs: list[tuple[str, str, int, float, float]] = []
    for name in options.data:
        rows = mixture(options, name=name)
        rows_there = rows.to(options.device)
        rows_of = {
            method: rows_there if cluster in (ours, flash) else rows
            for method, cluster in candidates.items()
        }
        # The first products start threads and load libraries.
        few = rows_there[: 20 * options.clusters]
        KMeans(options.clusters, random_state=0).fit(few)
        if options.device != "cpu":  # and kernels are built, or chosen, by size
            for method, cluster in candidates.items():
                if cluster in (ours, flash):
                    cluster(rows_of[method], options)
        seconds: dict[str, list[float]] = {method: [] for method in candidates}
        inertia: dict[str, float] = {}
        # Taking turns, so that a busy moment of the machine meets them all.
        for repeat in range(options.repeats):
            for method, cluster in candidates.items():
                start = time.perf_counter()
                labels = cluster(rows_of[method], options)
                seconds[method].append(time.perf_counter() - start)
                inertia[method] = cosine_inertia(rows, labels, options.clusters)
                run = (name, method, repeat, seconds[method][-1], inertia[method])
                runs.append(run)
        if options.csv:  # after every data set, so that a stop loses little
            write(options.csv, runs)
        best = min(inertia.values())
        own = statistics.median(seconds["hadis_lightly"])
        for method, times in seconds.items():
            median = statistics.median(times)
            print(
                f"{name:<12} {method:<14} {median:8.2f} {median / own:6.1f}x "
                f"{inertia[method] / best - 1:15.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
