"""The losses beside two of lightly's: time of a forward and a backward pass.

    python benchmarks/speed/losses.py
    python benchmarks/speed/losses.py --sizes 256 1024 --compile
    python benchmarks/speed/losses.py --device cuda --repeats 100 --csv losses.csv

All losses get the same ``(n, --dim)`` tensors: a student and a prediction that need a
gradient, and a teacher that does not. lightly's compare the prediction with the
teacher: NegativeCosineSimilarity row by row, NTXentLoss each of the ``2 n`` rows with
all. PCL and HaDisLoss run for every number in ``--clusters``. Losses take turns;
figures are medians. Leave the machine idle.

On a GPU every call is waited for, so small n show the cost of kernel launches. "peak"
is the memory of a call beyond the tensors and their gradients.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from measuring import (
    build_parser,
    describe_machine,
    in_turns,
    write_rows,
)
from torch import Tensor, nn

from hadis_lightly.loss import DSALoss, HaDisLoss, HSDLoss, PCLLoss

COSINE, NTXENT = "NegativeCosineSimilarity", "NTXentLoss"
Loss = Callable[[], Tensor]


class Inputs:
    """The tensors of a batch of ``n``."""

    def __init__(self, n: int, options: argparse.Namespace) -> None:
        generator = torch.Generator().manual_seed(options.seed)
        # Around a common teacher, so that positives and negatives are mined from both.
        teacher = torch.randn(n, options.dim, generator=generator)
        student, prediction = teacher + torch.randn(
            2, n, options.dim, generator=generator
        )
        self.teacher = teacher.to(options.device)
        self.student = student.to(options.device).requires_grad_()
        self.prediction = prediction.to(options.device).requires_grad_()
        self.labels = {
            k: torch.randint(k, (n,), generator=generator).to(options.device)
            for k in options.clusters
        }


def losses(x: Inputs, options: argparse.Namespace) -> dict[str, Loss]:
    """The losses of the inputs by name."""

    def ready(criterion: nn.Module) -> Callable[..., Any]:
        criterion = criterion.to(options.device)
        return torch.compile(criterion, dynamic=False) if options.compile else criterion

    pairs = {COSINE: NegativeCosineSimilarity(), NTXENT: NTXentLoss()}
    pairs |= {"DSALoss": DSALoss(), "HSDLoss": HSDLoss()}
    found: dict[str, Loss] = {
        name: partial(ready(criterion), x.prediction, x.teacher)
        for name, criterion in pairs.items()
    }
    for k, labels in x.labels.items():
        pcl = partial(ready(PCLLoss(k)), x.student, x.teacher, labels)
        found[f"PCLLoss, K {k}"] = pcl
    for k, labels in x.labels.items():
        criterion = ready(HaDisLoss(k))
        tensors = {"student": x.student, "prediction": x.prediction}
        tensors |= {"teacher": x.teacher, "labels": labels}
        found[f"HaDisLoss, K {k}"] = lambda c=criterion, t=tensors: c(**t).loss
    return found


def run(loss: Loss, x: Inputs) -> None:
    """One forward and one backward pass."""
    x.student.grad = x.prediction.grad = None
    loss().backward()


def peak_mib(work: Callable[[], object], options: argparse.Namespace) -> float | None:
    """Memory of a call beyond what is there before and after it; None on a CPU."""
    if options.device == "cpu":
        return None
    work()  # warms up, and compiles
    torch.cuda.reset_peak_memory_stats()
    work()
    return (torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()) / 2**20


def measure(n: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Prints the table of a batch size; a row for every repeat."""
    x = Inputs(n, options)
    works = {name: partial(run, loss, x) for name, loss in losses(x, options).items()}
    peaks = {name: peak_mib(work, options) for name, work in works.items()}
    seconds = in_turns(works, options.repeats, options.device)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        peak = "" if peaks[name] is None else f" {peaks[name]:9.1f}"
        print(
            f"{n:6} {name:<24} {1000 * median:9.3f} {median / medians[COSINE]:8.2f}x "
            f"{median / medians[NTXENT]:8.2f}x{peak}",
            flush=True,
        )
    return [
        {"n": n, "loss": name, "repeat": i, "seconds": s, "peak_mib": peaks[name]}
        for i in range(options.repeats)
        for name, s in ((name, times[i]) for name, times in seconds.items())
    ]


def main() -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="all, lightly's too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    compiled = ", compiled" if options.compile else ""
    print(
        f"forward and backward, d {options.dim}, {describe_machine(options)}"
        f"{compiled}, median of {options.repeats}"
    )
    peak = "" if options.device == "cpu" else f" {'peak MiB':>9}"
    print(f"{'n':>6} {'loss':<24} {'ms':>9} {'/ cosine':>9} {'/ NTXent':>9}{peak}")
    rows: list[dict[str, Any]] = []
    for n in options.sizes:
        rows += measure(n, options)
        write_rows(options.csv, rows)  # after every size: an interruption is cheap


if __name__ == "__main__":
    main()
