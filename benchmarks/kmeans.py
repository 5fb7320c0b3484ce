"""K-means side by side: ours, faiss and scikit-learn, in one process.

    python benchmarks/kmeans.py
    python benchmarks/kmeans.py --samples 20000 --clusters 100 --repeats 3

Data: rows of length one, drawn from a mixture of Gaussians around random unit vectors,
``normalise(mean + spread * noise / sqrt(d))``. "clear" has as many components as
clusters and spread 2 (each row has cosine 0.45 to its mean); "overlapping" has twice
as many components as clusters and spread 4 (cosine 0.24), so that local minima differ.

faiss makes exactly ``--faiss-iterations`` iterations in every restart, for it has no
test of convergence. The default lets all of them converge: scikit-learn's single runs
took up to 43 iterations on "clear" and up to 62 on "overlapping". The inertia
is the cosine one of the labels, computed alike for all three in float64. Leave the
machine idle, or read the ratios only. faiss is left out if it is not installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans as SklearnKMeans
from torch import Tensor

from hadis_lightly.cluster import KMeans

DATA = {"clear": (1, 2.0), "overlapping": (2, 4.0)}


def mixture(options: argparse.Namespace, *, name: str, device: str) -> Tensor:
    per_cluster, spread = DATA[name]
    generator = torch.Generator().manual_seed(options.seed)
    components = per_cluster * options.clusters
    means = torch.randn(components, options.dim, generator=generator)
    component = torch.randint(components, (options.samples,), generator=generator)
    noise = torch.randn(options.samples, options.dim, generator=generator)
    rows = F.normalize(means, dim=1)[component] + spread * noise / options.dim**0.5
    return F.normalize(rows, dim=1).to(device)


def cosine_inertia(rows: Tensor, labels: Tensor, k: int) -> float:
    """Sum of squared distances to the normalised means of the clusters."""
    sums = torch.zeros(k, rows.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels.cpu().long(), rows.cpu().double())
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
    return torch.from_numpy(kmeans.fit(rows.cpu().numpy()).labels_)


def faiss_spherical(rows: Tensor, options: argparse.Namespace) -> Tensor:
    import faiss

    array = rows.cpu().numpy()
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


def methods(threads: int) -> dict[str, Callable[[Tensor, argparse.Namespace], Tensor]]:
    found = {"hadis_lightly": ours, "scikit-learn": scikit_learn}
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: left out")
    else:
        faiss.omp_set_num_threads(threads)
        found["faiss"] = faiss_spherical
    return found


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
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"{options.samples} x {options.dim}, K {options.clusters}, "
        f"{options.restarts} restarts, {options.threads} threads, ours on {device}, "
        f"median of {options.repeats}"
    )
    header = f"{'data':<12} {'method':<14} {'seconds':>8} {'ratio':>7}"
    print(header + f" {'inertia/best-1':>15}")
    candidates = methods(options.threads)
    for name in options.data:
        rows = mixture(options, name=name, device=device)
        # The first products start threads and load libraries.
        KMeans(options.clusters, random_state=0).fit(rows[: 20 * options.clusters])
        seconds: dict[str, list[float]] = {method: [] for method in candidates}
        inertia: dict[str, float] = {}
        # Taking turns, so that a busy moment of the machine meets them all.
        for _ in range(options.repeats):
            for method, cluster in candidates.items():
                start = time.perf_counter()
                labels = cluster(rows, options)
                seconds[method].append(time.perf_counter() - start)
                inertia[method] = cosine_inertia(rows, labels, options.clusters)
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
