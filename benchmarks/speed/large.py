"""Large settings: k-means on 1.28 million rows, PCL of 10,000 clusters, HSD on 4,096.

    python benchmarks/large.py
    python benchmarks/large.py --sections kmeans --samples 1281167 320000
    python benchmarks/large.py --sections pcl hsd --repeats 5 --csv losses.csv

Every case runs in a process of its own, so that its peak of memory is its own.

kmeans: rows of length one from a mixture of as many overlapping Gaussians as there are
clusters, ``normalise(mean + 4 * noise / sqrt(d))``. One restart, at most
``--iterations``. hadis_lightly searches a subsample of 256 rows per cluster, then goes
on with all rows, each with so many iterations. "faiss" is its default, which sees such
a subsample only; "faiss, all rows" sees them all. Seconds end with the labels of all
rows; those of the CPU, of all cores together, say more where others use it too. The
inertia is the cosine one of the labels, computed alike for all, afterwards. "partition"
is what a training does with its embeddings. GiB are resident ones of the process, data
and libraries included; on a CPU it may not have more than ``--limit-gib`` of memory of
its own (RLIMIT_DATA). On a GPU, ours runs there, and GiB are the device's.
The first of ``--samples`` and of ``--clusters`` is run with all ``--methods``; each
other value stands beside the first of the rest, and is run with the first method only.

pcl, hsd: one forward and backward pass; GiB are those beyond inputs and libraries.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.cluster import KMeans, kmeans, partition_fitting
from hadis_lightly.cluster.lloyd import search
from hadis_lightly.loss import HSDLoss, PCLLoss

SECTIONS = ("kmeans", "pcl", "hsd")
FAISS = ("faiss", "faiss, all rows")
METHODS = ("hadis_lightly", *FAISS, "partition", "partition, whitened")
CHUNK = 16_384
Values = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    """One row of the table: ``n`` rows, or images of a batch."""

    section: str
    method: str
    n: int
    clusters: int


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
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
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default=default_device)
    parser.add_argument("--timeout", type=float, help="seconds for a case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="file for every value")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # of the process of a case
    return parser.parse_args()


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
    # Not ru_maxrss: a process inherits it from the one that started it.
    text = Path("/proc/self/status").read_text(encoding="ascii")
    now, peak = (
        int(re.search(rf"{field}:\s+(\d+) kB", text)[1]) * 1024
        for field in ("VmRSS", "VmHWM")
    )
    return now, peak


def mixture(case: Case, options: argparse.Namespace) -> Tensor:
    """Rows in chunks, so that making them needs little more than they do."""
    generator = torch.Generator().manual_seed(options.seed)
    means = torch.randn(case.clusters, options.dim, generator=generator)
    means = F.normalize(means, dim=1)
    rows = torch.empty(case.n, options.dim)
    for part in rows.split(CHUNK):
        torch.randn(part.shape, generator=generator, out=part)
        component = torch.randint(case.clusters, (len(part),), generator=generator)
        part.mul_(4 / options.dim**0.5).add_(means[component])
        F.normalize(part, dim=1, out=part)
    return rows


def cosine_inertia(rows: Tensor, labels: Tensor, k: int) -> float:
    """Sum of squared distances to the normalised means of the clusters."""
    sums = torch.zeros(k, rows.shape[1], dtype=torch.float64)
    for part, own in zip(rows.split(CHUNK), labels.cpu().split(CHUNK), strict=True):
        sums.index_add_(0, own, part.double())
    return float(2 * len(rows) - 2 * torch.linalg.vector_norm(sums, dim=1).sum())


@contextmanager
def timed_stages(values: Values) -> Iterator[None]:
    """Adds the seconds of the stages of a fit, and their iterations."""

    def timed(name: str, stage: Callable[..., Any], *args: Any, **more: Any) -> Any:
        start, start_cpu = time.perf_counter(), time.process_time()
        result = stage(*args, **more)
        values[f"{name}, s"] = [time.perf_counter() - start]
        values[f"{name}, CPU s"] = [time.process_time() - start_cpu]
        if name == "search":
            values["search, iterations"] = [max(result.n_iter)]
        elif name == "refine":
            values["refine, iterations"] = [result[1]]
        return result

    with ExitStack() as stack:
        for name, where, stage in (
            ("seeding", kmeans, "kmeans_plusplus"),
            ("search", search, "lloyd"),
            ("refine", search, "refine"),
            ("settle", kmeans, "settle"),
        ):
            watched = partial(timed, name, getattr(where, stage))
            stack.enter_context(patch.object(where, stage, watched))
        yield


def of_ours(rows: Tensor, case: Case, options: argparse.Namespace) -> Tensor:
    settings = {"n_init": 1, "random_state": options.seed}
    if case.method == "hadis_lightly":
        fitted = KMeans(case.clusters, max_iter=options.iterations, **settings)
        return fitted.fit(rows).labels_
    bounded = partial(KMeans, max_iter=options.iterations)
    with patch.object(partition_fitting, "KMeans", bounded):
        return partition_fitting.fit_partition(
            rows, case.clusters, whiten="whitened" in case.method, **settings
        ).labels


def of_faiss(rows: Tensor, case: Case, options: argparse.Namespace) -> Tensor:
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
    rows = mixture(case, options)
    there = rows.to(device)
    KMeans(2, random_state=0).fit(there[:100])  # starts threads, loads libraries
    (before, _), stages = memory(device), Values()
    with timed_stages(stages):
        start, start_cpu = time.perf_counter(), time.process_time()
        labels = (of_faiss if is_faiss else of_ours)(there, case, options).cpu()
        seconds = time.perf_counter() - start
        cpu_seconds = time.process_time() - start_cpu
    return {
        "seconds": [seconds],
        "CPU seconds": [cpu_seconds],
        "GiB": [memory(device)[1] / 2**30],
        "GiB before": [before / 2**30],
        "inertia": [cosine_inertia(rows, labels, case.clusters)],
        "iterations, at most": [options.iterations],
    } | stages


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
    (before, _), values = memory(options.device), []
    for _ in range(options.repeats):
        start = time.perf_counter()
        criterion(*tensors).backward()
        if options.device != "cpu":
            torch.cuda.synchronize()
        values.append(time.perf_counter() - start)
    return {"seconds": values, "GiB": [(memory(options.device)[1] - before) / 2**30]}


RUNS = {"kmeans": run_kmeans, "pcl": run_loss, "hsd": run_loss}


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
    medians = {name: statistics.median(of_one) for name, of_one in values.items()}
    return ", ".join(f"{name} {median:,.6g}" for name, median in medians.items())


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if options.case:
        case = Case(**json.loads(options.case))
        print(json.dumps(RUNS[case.section](case, options)))
        return
    print(f"{options.device}, {options.threads} threads, d {options.dim}")
    rows: list[tuple[Any, ...]] = []
    for case in cases(options):
        values = in_own_process(case, options)
        label = f"{case.section} {case.method} n {case.n:,} K {case.clusters:,}"
        print(f"{label}: {shown(values)}", flush=True)
        if isinstance(values, str):
            values = {values: [math.nan]}
        for name, of_one in values.items():
            key = (*asdict(case).values(), options.dim, name)
            rows += [(*key, i, value) for i, value in enumerate(of_one)]
        if options.csv:  # after every case, so that a stop loses little
            write(options.csv, rows)


def write(path: Path, rows: list[tuple[Any, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = ("section", "method", "n", "clusters", "dim", "what", "round")
        writer.writerow([*columns, "value"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
