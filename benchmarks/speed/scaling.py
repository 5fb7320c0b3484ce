"""How the cost of an epoch grows: with batch, image size, clusters, number of images.

    python benchmarks/speed/scaling.py --csv scaling.csv

One quantity varies at a time, the others keep the first of their values. A step is
timed as a training makes it. An epoch of ``--images`` is its steps, embedding all
images, and k-means (10 restarts, 256 columns) on as many rows; batches and embedding
are timed on a small set and scaled up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial

import torch
from measuring import describe_machine, in_turns, write_rows
from mixture import mixture
from training_steps import Training, build_training_parser, noise_source, settings_of

from hadis_lightly.cluster import fit_partition


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    batch: int
    size: int
    clusters: int
    images: int


@dataclass(frozen=True)
class Cost:
    """Its cost, in milliseconds and seconds."""

    step_ms: float
    embedding_s: float
    kmeans_s: float
    epoch_s: float


def cases(options: argparse.Namespace) -> list[Case]:
    """The first values, and each other value beside the first of the rest."""
    values = {
        "batch": options.batch_sizes,
        "size": options.sizes,
        "clusters": options.clusters,
        "images": options.images,
    }
    first = {name: column[0] for name, column in values.items()}
    rows = [Case(**first)]
    for name, column in values.items():
        rows += [Case(**(first | {name: value})) for value in column[1:]]
    return rows


def measure(options: argparse.Namespace, case: Case) -> Cost:
    device = torch.device(options.device)
    options.batch_size, options.input_size = case.batch, case.size
    options.n_clusters = case.clusters
    settings = settings_of(options, "device")
    torch.compiler.reset()  # each case is a program of its own
    settings.clustering.batch_size = 128 if device.type == "cpu" else 2048
    n = max(2 * case.batch, 2 * settings.clustering.batch_size)
    training = Training(settings, noise_source(n, case.size), device)
    works = {"steps": partial(training.steps, options.steps), "embed": training.embed}
    seconds = in_turns(works, 1, device, 2)
    step = seconds["steps"][0] / options.steps
    embedding = seconds["embed"][0] * case.images / n
    rows = mixture(case.images, 256, case.clusters, 1.0).to(device)
    times: list[float] = []
    while len(times) < 3 and sum(times) < 10:
        start = time.perf_counter()
        fit_partition(rows, case.clusters, random_state=len(times))
        times.append(time.perf_counter() - start)
    kmeans = statistics.median(times)
    steps = case.images // case.batch
    return Cost(1000 * step, embedding, kmeans, steps * step + embedding + kmeans)


def main() -> None:
    parser, on_gpu = build_training_parser(__doc__)
    batches = [256, 64, 128, 512, 1024] if on_gpu else [64, 16, 32, 128]
    images = [60_000, 15_000, 30_000, 120_000]
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=batches)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 96])
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--images", type=int, nargs="+", default=images)
    parser.add_argument("--steps", type=int, default=20 if on_gpu else 3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = describe_machine(options)
    print(f"{options.backbone}, {machine}, PyTorch {torch.__version__}\n")
    print(
        "| batch | px | K | images | step, ms | embedding, s | k-means, s | epoch, s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    records = []
    for case in cases(options):
        cost = measure(options, case)
        records.append(asdict(case) | asdict(cost))
        write_rows(options.csv, records)
        print(
            f"| {case.batch} | {case.size} | {case.clusters} | {case.images:,} "
            f"| {cost.step_ms:.1f} | {cost.embedding_s:.2f} | {cost.kmeans_s:.2f} "
            f"| {cost.epoch_s:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
