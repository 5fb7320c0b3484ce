"""Large settings: k-means on 1.28 million rows, PCL of 10,000 clusters, HSD on 4,096.

    python benchmarks/speed/large.py
    python benchmarks/speed/large.py --sections kmeans --samples 1281167 320000
    python benchmarks/speed/large.py --sections pcl hsd --repeats 5 --csv losses.csv

Every case runs in a process of its own, so its peak of memory is its own.

kmeans: a mixture of as many overlapping Gaussians as clusters (see mixture.py, spread
4), one restart, at most ``--iterations``. hadis_lightly searches a subsample of 256
rows per cluster, then continues with all rows. "faiss" is its default, which only sees
such a subsample; "faiss, all rows" sees all. "partition" is what a training does with
its embeddings, without a limit of iterations. CPU seconds are those of all cores:
compare these on a shared machine. GiB are resident, data and libraries included; on a
CPU at most ``--limit-gib`` (RLIMIT_DATA), on a GPU the device's for ours. The first of
``--samples`` and of ``--clusters`` runs with all ``--methods``; each other value
replaces it for the first method only.

pcl, hsd: one forward and backward pass; GiB are those beyond inputs and libraries.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import build_parser, describe_machine, seconds_of, write_rows
from mixture import cosine_inertia, mixture
from torch import Tensor

from hadis_lightly.cluster import KMeans, fit_partition
from hadis_lightly.loss import HSDLoss, PCLLoss

SECTIONS = ("kmeans", "pcl", "hsd")
FAISS = ("faiss", "faiss, all rows")
METHODS = ("hadis_lightly", *FAISS, "partition", "partition, whitened")
Values = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    """One row of the table: ``n`` rows, or images of a batch."""

    section: str
    method: str
    n: int
    clusters: int


def cases(options: argparse.Namespace) -> Iterator[Case]:
    n, k = options.samples[0], options.clusters[0]
    if "kmeans" in options.sections:
        yield from (Case("kmeans", method, n, k) for method in options.methods)
        first = options.methods[0]
        yield from (Case("kmeans", first, other, k) for other in options.samples[1:])
        yield from (Case("kmeans", first, n, other) for other in options.clusters[1:])
    if "pcl" in options.sections:
        many = options.pcl_clusters
        yield from (Case("pcl", "PCLLoss", b, many) for b in options.pcl_sizes)
    if "hsd" in options.sections:
        yield from (Case("hsd", "HSDLoss", b, 0) for b in options.hsd_sizes)


def memory(device: str) -> tuple[int, int]:
    """Bytes of this process, or on the GPU: now, and at most so far."""
    if device != "cpu":
        return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    # Not ru_maxrss: a process inherits it from its parent.
    text = Path("/proc/self/status").read_text(encoding="ascii")
    now, peak = (
        int(re.search(rf"{field}:\s+(\d+) kB", text)[1]) * 1024
        for field in ("VmRSS", "VmHWM")
    )
    return now, peak


def fit_ours(rows: Tensor, case: Case, options: argparse.Namespace) -> Tensor:
    k, settings = case.clusters, {"n_init": 1, "random_state": options.seed}
    if case.method == "hadis_lightly":
        return KMeans(k, max_iter=options.iterations, **settings).fit(rows).labels_
    whiten = "whitened" in case.method
    return fit_partition(rows, k, whiten=whiten, **settings).labels


def fit_faiss(rows: Tensor, case: Case, options: argparse.Namespace) -> Tensor:
    import faiss

    faiss.omp_set_num_threads(options.threads)
    array = rows.numpy()
    most = {"max_points_per_centroid": len(array)} if "all" in case.method else {}
    settings = {"niter": options.iterations, "nredo": 1, "seed": options.seed}
    found = faiss.Kmeans(options.dim, case.clusters, spherical=True, **settings, **most)
    found.train(array)
    return torch.from_numpy(found.index.search(array, 1)[1][:, 0])


def run_kmeans(case: Case, options: argparse.Namespace) -> Values:
    is_faiss = case.method in FAISS
    device = "cpu" if is_faiss else options.device
    if device == "cpu":
        limit = int(options.limit_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    rows = mixture(case.n, options.dim, case.clusters, 4.0, options.seed)
    there = rows.to(device)
    KMeans(2, random_state=0).fit(there[:100])  # starts threads, loads libraries
    before, _ = memory(device)
    start, start_cpu = time.perf_counter(), time.process_time()
    labels = (fit_faiss if is_faiss else fit_ours)(there, case, options).cpu()
    seconds = time.perf_counter() - start
    cpu_seconds = time.process_time() - start_cpu
    return {
        "seconds": [seconds],
        "CPU seconds": [cpu_seconds],
        "GiB": [memory(device)[1] / 2**30],
        "GiB before": [before / 2**30],
        "inertia": [cosine_inertia(rows, labels, case.clusters)],
        "iterations, at most": [options.iterations],
    }


def run_loss(case: Case, options: argparse.Namespace) -> Values:
    criterion = PCLLoss(case.clusters) if case.section == "pcl" else HSDLoss()

    def inputs(n: int) -> list[Tensor]:
        teacher = torch.randn(n, options.dim)
        student = (teacher + torch.randn(n, options.dim)).to(options.device)
        labels = torch.randint(max(1, case.clusters), (n,)).to(options.device)
        rest = [labels] if case.section == "pcl" else []
        return [student.requires_grad_(), teacher.to(options.device), *rest]

    torch.manual_seed(options.seed)
    criterion(*inputs(8)).backward()  # starts threads, loads libraries
    tensors = inputs(case.n)
    before, _ = memory(options.device)
    values = [
        seconds_of(lambda: criterion(*tensors).backward(), options.device)
        for _ in range(options.repeats)
    ]
    return {"seconds": values, "GiB": [(memory(options.device)[1] - before) / 2**30]}


def in_own_process(case: Case, options: argparse.Namespace) -> Values | str:
    """The values of a case, or why there are none."""
    own = [sys.executable, __file__, *sys.argv[1:], "--case", json.dumps(asdict(case))]
    try:
        done = subprocess.run(
            own, capture_output=True, text=True, timeout=options.timeout
        )
    except subprocess.TimeoutExpired:
        return f"took more than {options.timeout:g} s"
    if done.returncode != 0:
        return (done.stderr.split("\n")[-2:] or [""])[0] or f"exit {done.returncode}"
    values: Values = json.loads(done.stdout.splitlines()[-1])
    return values


def shown(values: Values | str) -> str:
    if isinstance(values, str):
        return values
    medians = {name: statistics.median(found) for name, found in values.items()}
    return ", ".join(f"{name} {median:,.6g}" for name, median in medians.items())


def parse() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--samples", type=int, nargs="+", default=[1_281_167])
    parser.add_argument("--clusters", type=int, nargs="+", default=[1000])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS[:3])
    parser.add_argument("--iterations", type=int, default=25, help="at most")
    parser.add_argument("--limit-gib", type=float, default=8.0)
    parser.add_argument("--pcl-clusters", type=int, default=10_000)
    parser.add_argument("--pcl-sizes", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--hsd-sizes", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--repeats", type=int, default=3, help="of the losses")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--timeout", type=float, help="seconds of a case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", help=argparse.SUPPRESS)  # in the process of a case
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if options.case:
        case = Case(**json.loads(options.case))
        run = run_kmeans if case.section == "kmeans" else run_loss
        print(json.dumps(run(case, options)))
        return
    print(f"{describe_machine(options)}, d {options.dim}")
    rows: list[dict[str, Any]] = []
    for case in cases(options):
        values = in_own_process(case, options)
        label = f"{case.section} {case.method} n {case.n:,} K {case.clusters:,}"
        print(f"{label}: {shown(values)}", flush=True)
        if isinstance(values, str):
            values = {values: [math.nan]}
        rows += [
            asdict(case) | {"dim": options.dim, "what": what, "round": i, "value": x}
            for what, found in values.items()
            for i, x in enumerate(found)
        ]
        write_rows(options.csv, rows)  # after every case: an interruption is cheap


if __name__ == "__main__":
    main()
