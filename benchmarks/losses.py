"""What the losses cost: forward and backward, beside two of lightly's.

    python benchmarks/losses.py
    python benchmarks/losses.py --sizes 256 1024 --compile
    python benchmarks/losses.py --device cuda --repeats 100 --csv losses.csv

All losses get the same tensors, ``(n, --dim)``: a student and a prediction that want a
gradient, and a teacher that wants none. lightly's compare the prediction with the
teacher: NegativeCosineSimilarity a row with its own, NTXentLoss each of the ``2 n``
rows with all. PCL and HaDisLoss are run for every number of clusters in ``--clusters``.
The losses take turns, and the figures are medians. Leave the machine idle.

On a GPU every call is waited for, so that small n show what starting the kernels
costs. "peak" is the memory that a call takes beyond the tensors and their gradients.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from torch import Tensor, nn

from hadis_lightly.loss import DSALoss, HaDisLoss, HSDLoss, PCLLoss

COSINE, NTXENT = "NegativeCosineSimilarity", "NTXentLoss"


class Inputs:
    """The tensors of a batch."""

    def __init__(self, n: int, options: argparse.Namespace) -> None:
        generator = torch.Generator().manual_seed(options.seed)
        # Around a common teacher, so that positives and negatives are mined from both.
        teacher = torch.randn(n, options.dim, generator=generator)
        noise = torch.randn(2, n, options.dim, generator=generator)
        student, prediction = teacher + noise
        self.teacher = teacher.to(options.device)
        self.student = student.to(options.device).requires_grad_()
        self.prediction = prediction.to(options.device).requires_grad_()
        self.labels = {
            k: torch.randint(k, (n,), generator=generator).to(options.device)
            for k in options.clusters
        }

    def forget_gradients(self) -> None:
        self.student.grad = self.prediction.grad = None


Loss = Callable[[Inputs], Tensor]


def losses(options: argparse.Namespace) -> dict[str, Loss]:
    """The losses by name, each as a function of the inputs."""

    def ready(criterion: nn.Module) -> Callable[..., Tensor]:
        criterion = criterion.to(options.device)
        return torch.compile(criterion, dynamic=False) if options.compile else criterion

    def of_pair(criterion: nn.Module) -> Loss:
        ready_criterion = ready(criterion)
        return lambda x: ready_criterion(x.prediction, x.teacher)

    def pcl(k: int) -> Loss:
        criterion = ready(PCLLoss(k))
        return lambda x: criterion(x.student, x.teacher, x.labels[k])

    def hadis(k: int) -> Loss:
        criterion = ready(HaDisLoss(k))
        return lambda x: (
            criterion(
                student=x.student,
                prediction=x.prediction,
                teacher=x.teacher,
                labels=x.labels[k],
            ).loss
        )

    found = {
        COSINE: of_pair(NegativeCosineSimilarity()),
        NTXENT: of_pair(NTXentLoss()),
        "DSALoss": of_pair(DSALoss()),
        "HSDLoss": of_pair(HSDLoss()),
    }
    found |= {f"PCLLoss, K {k}": pcl(k) for k in options.clusters}
    found |= {f"HaDisLoss, K {k}": hadis(k) for k in options.clusters}
    return found


def run(loss: Loss, inputs: Inputs, options: argparse.Namespace) -> float:
    """Seconds of one forward and backward pass."""
    inputs.forget_gradients()
    synchronize(options)
    start = time.perf_counter()
    loss(inputs).backward()
    synchronize(options)
    return time.perf_counter() - start


def synchronize(options: argparse.Namespace) -> None:
    if options.device != "cpu":
        torch.cuda.synchronize()


def peak_mib(loss: Loss, inputs: Inputs, options: argparse.Namespace) -> float | None:
    """Memory that a call takes beyond what is there before and after it."""
    if options.device == "cpu":
        return None
    inputs.forget_gradients()
    torch.cuda.reset_peak_memory_stats()
    loss(inputs).backward()
    peak = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--device", default=default_device)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="all, lightly's too")
    parser.add_argument("--csv", type=Path, help="file for every repeat")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    on_gpu = options.device != "cpu"
    device = torch.cuda.get_device_name() if on_gpu else options.device
    compiled = ", compiled" if options.compile else ""
    print(
        f"forward and backward, d {options.dim}, {device}, {options.threads} threads"
        f"{compiled}, median of {options.repeats}"
    )
    found = losses(options)
    width = max(map(len, found))
    header = f"{'n':>6} {'loss':<{width}} {'ms':>9} {'/ cosine':>9} {'/ NTXent':>9}"
    print(header + (f" {'peak MiB':>9}" if on_gpu else ""))
    rows: list[tuple[int, str, int, float, float | None]] = []
    for n in options.sizes:
        inputs = Inputs(n, options)
        peaks: dict[str, float | None] = {}
        for name, loss in found.items():
            run(loss, inputs, options)  # warms up, and compiles
            peaks[name] = peak_mib(loss, inputs, options)
        seconds: dict[str, list[float]] = {name: [] for name in found}
        # Taking turns, so that a busy moment of the machine meets them all.
        for repeat in range(options.repeats):
            for name, loss in found.items():
                seconds[name].append(run(loss, inputs, options))
                rows.append((n, name, repeat, seconds[name][-1], peaks[name]))
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        for name, median in medians.items():
            print(
                f"{n:6} {name:<{width}} {1000 * median:9.3f} "
                f"{median / medians[COSINE]:8.2f}x {median / medians[NTXENT]:8.2f}x"
                + (f" {peaks[name]:9.1f}" if on_gpu else ""),
                flush=True,
            )
        if options.csv:  # after every size, so that a stop loses little
            write(options.csv, rows)


def write(path: Path, rows: list[tuple[int, str, int, float, float | None]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["n", "loss", "repeat", "seconds", "peak_mib"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
