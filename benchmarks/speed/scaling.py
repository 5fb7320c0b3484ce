"""How the cost of an epoch grows: with the batch, the image, the clusters, the set.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --csv scaling.csv

One quantity varies at a time, the others stay at the first value of their rows. A step
is measured as a training makes it; an epoch is that of ``--images`` images: its steps,
embedding all of them, and k-means (10 restarts, 256 columns) on as many rows. The set
itself is not made for that: batches come from a small one, whose images are embedded
and counted up. Without options the settings are small on a CPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from csv_rows import write_rows
from throughput import (
    Training,
    clustered_rows,
    milliseconds,
    parser_of,
    settings_of,
)

from hadis_lightly.cluster import fit_partition
from hadis_lightly.data import ArraySource
from hadis_lightly.data.image_source import position_keys


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


def parse() -> argparse.Namespace:
    parser, is_gpu = parser_of(__doc__)
    batches = [256, 64, 128, 512, 1024] if is_gpu else [64, 16, 32, 128]
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=batches)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 96])
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument(
        "--images", type=int, nargs="+", default=[60_000, 15_000, 30_000, 120_000]
    )
    parser.add_argument("--steps", type=int, default=20 if is_gpu else 3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--csv", type=Path)
    return parser.parse_args()


def cases(options: argparse.Namespace) -> list[Case]:
    """The first values, and each other value beside the first of the rest."""
    first = Case(
        options.batch_sizes[0],
        options.sizes[0],
        options.clusters[0],
        options.images[0],
    )
    values = {
        "batch": options.batch_sizes,
        "size": options.sizes,
        "clusters": options.clusters,
        "images": options.images,
    }
    rows = [first]
    for name, column in values.items():
        rows += [Case(**(asdict(first) | {name: value})) for value in column[1:]]
    return rows


def measure(options: argparse.Namespace, case: Case) -> Cost:
    chosen = vars(options) | {
        "batch_size": case.batch,
        "input_size": case.size,
        "clusters": case.clusters,
    }
    device = torch.device(options.device)
    settings = settings_of(argparse.Namespace(**chosen), "device")
    torch.compiler.reset()  # each case is a program of its own
    settings.clustering.batch_size = 128 if device.type == "cpu" else 2048
    n = max(2 * case.batch, 2 * settings.clustering.batch_size)
    pixels = np.random.default_rng(0).integers(
        256, size=(n, case.size, case.size, 3), dtype=np.uint8
    )
    source = ArraySource("npz", None, np.zeros(n, int), position_keys(n), "", 3, pixels)
    training = Training(settings, source, device)
    step = milliseconds(lambda: several(training, options.steps), 1) / options.steps
    embedding = milliseconds(training.embed, 1) / 1000 * case.images / n
    rows = clustered_rows(case.images, case.clusters, device)
    times: list[float] = []
    while len(times) < 3 and sum(times) < 10:
        start = time.perf_counter()
        fit_partition(rows, case.clusters, random_state=len(times))
        times.append(time.perf_counter() - start)
    kmeans = statistics.median(times)
    steps = case.images // case.batch
    return Cost(step, embedding, kmeans, steps * step / 1000 + embedding + kmeans)


def several(training: Training, steps: int) -> None:
    """Steps one after another, waiting for the device after the last one only."""
    for _ in range(steps):
        training.step()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    print(
        f"{options.backbone}, {options.device}, {torch.get_num_threads()} threads, "
        f"PyTorch {torch.__version__}\n"
    )
    print(
        "| batch | px | K | images | step, ms | embedding, s | k-means, s | epoch, s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    records = []
    for case in cases(options):
        cost = measure(options, case)
        records.append(asdict(case) | asdict(cost))
        print(
            f"| {case.batch} | {case.size} | {case.clusters} | {case.images:,} "
            f"| {cost.step_ms:.1f} | {cost.embedding_s:.2f} | {cost.kmeans_s:.2f} "
            f"| {cost.epoch_s:.1f} |",
            flush=True,
        )
    if options.csv:
        write_rows(options.csv, records)


if __name__ == "__main__":
    main()
