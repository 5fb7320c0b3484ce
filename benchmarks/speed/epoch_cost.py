"""The cost of an epoch by formula: operations of the networks, and a run on GPUs.

    python benchmarks/speed/epoch_cost.py
    python benchmarks/speed/epoch_cost.py --tflops 100 --gpus 1 --batch-size 512

Nothing is measured. The operations of the networks are counted without data; the rest
are the formulas of docs/scaling.md. The rates are assumptions: the options.
"""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hadis_lightly.models import (
    HaDisModel,
    HaDisPredictionHead,
    HaDisProjectionHead,
    build_backbone,
    feature_dim,
)

DIM = 256


class Network:
    """Cost of one image in the networks, counted on a batch of two.

    Attributes:
        step: Operations of a step: two views, student and teacher.
        embedding: Operations of one embedding.
        kept: Bytes kept for the backward pass of one view, in float32.
        parameters: Number of trained parameters.
    """

    def __init__(self, backbone_name: str, size_px: int) -> None:
        backbone = build_backbone(backbone_name)
        projector = HaDisProjectionHead(feature_dim(backbone, 3, size_px))
        model = HaDisModel(backbone, projector, HaDisPredictionHead()).to("meta")
        x = torch.zeros(2, 3, size_px, size_px, device="meta")
        trained = [p for p in model.parameters() if p.requires_grad]
        kept: dict[int, Tensor] = {}  # by storage: some are kept twice

        def keep(tensor: Tensor) -> Tensor:
            return kept.setdefault(tensor.untyped_storage()._cdata, tensor)

        with FlopCounterMode(display=False) as counter:
            model.forward_teacher(x)
            self.embedding = counter.get_total_flops() / 2
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                _, p = model.forward_student(x)
            p.sum().backward()
            self.step = 2 * counter.get_total_flops() / 2
        for parameter in trained:
            kept.pop(parameter.untyped_storage()._cdata, None)
        self.kept = sum(tensor.nbytes for tensor in kept.values()) / 2
        self.parameters = sum(p.numel() for p in trained)


def hsd_cost(b: int, d: int) -> float:
    """Operations of HSD, one direction: differences, squares and sums of two tables."""
    return 6 * b**2 * d


def pcl_cost(b: int, d: int, k: int) -> float:
    """Operations of the products of PCL, one direction, forward and backward."""
    m = min(b, k)
    return 6 * b * m * d + 6 * m**2 * d


def kmeans_costs(options: argparse.Namespace) -> dict[str, float]:
    """Operations of the stages of k-means, in one process."""
    n, k, iterations = options.images, options.n_clusters, options.iterations
    sample = max(8192, 256 * k)
    s = n if n < 2 * sample else sample  # rows of the search
    restarts, product = options.n_init, 2 * k * DIM
    own = math.ceil(restarts / options.gpus)
    # The two best restarts continue with all rows, unless the search had all.
    best = math.ceil(min(restarts, 2) / options.gpus) if s < n else 1
    is_searched = restarts > 1 or s < n  # one start on all rows is refined at once
    return {
        "seeding": restarts * (2 + int(math.log(k))) * s * product,
        "search": own * iterations * 2 * s * product * is_searched,
        "ranking": own * 2 * n * product * (s < n and restarts > 1),
        # One pass over all rows, then at most all rows that may change.
        "refining": best * (1 + iterations) * n * product,
        "last labels": n * product,
    }


def seconds_of_epoch(options: argparse.Namespace, net: Network) -> dict[str, float]:
    """Seconds of every part, on GPUs with the rates of the options."""
    n, k, b, g = options.images, options.n_clusters, options.batch_size, options.gpus
    half, full = options.tflops * 1e12, options.fp32_tflops * 1e12
    link, steps = options.link_gb * 1e9, n // (b * g)
    together = b * g if options.gather else b
    of_losses = 2 * (hsd_cost(together, DIM) + pcl_cost(together, DIM, k))
    gradients = 2 * (g - 1) / g * 4 * net.parameters
    # Two directions: three tensors come from each other process; the gradients of two
    # of them are summed over all.
    gathered = 2 * (3 + 2 * 2) * (g - 1) * b * DIM * 4 * options.gather
    return {
        "steps of the networks": steps * b * net.step / half,
        "losses": steps * of_losses / full,
        "gradients between processes": steps * gradients / link,
        "gathering for the losses": steps * gathered / link,
        "embedding": n / g * net.embedding / half,
        "embeddings between processes": n * DIM * 4 * (g - 1) / g / link,
        **{
            f"k-means, {stage}": operations / full
            for stage, operations in kmeans_costs(options).items()
            if operations > 0
        },
        "labels by the prototypes, float64": 2 * n * k * DIM / full,
    }


def print_head(title: str, *columns: str) -> None:
    print(f"\n{title}\n")
    print_row(*columns)
    print("|" + " --- |" * len(columns))


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_networks() -> None:
    print_head(
        "Networks, per image",
        *("backbone", "px", "step, GFLOP", "embedding, GFLOP"),
        *("kept for backward of a view, MiB", "parameters, million"),
    )
    for name, size in (("small_resnet18", 32), ("resnet18", 32), ("resnet50", 224)):
        net = Network(name, size)
        giga = (f"{flops / 1e9:.2f}" for flops in (net.step, net.embedding))
        kept, parameters = f"{net.kept / 2**20:.1f}", f"{net.parameters / 1e6:.1f}"
        print_row(name, size, *giga, kept, parameters)


def print_run(options: argparse.Namespace) -> None:
    """A whole run on GPUs, all rates assumed."""
    net = Network(options.backbone, options.size)
    print_head(
        f"{options.backbone}, {options.images:,} images of {options.size} px, "
        f"K {options.n_clusters}, batch {options.batch_size} x {options.gpus}",
        *("part of an epoch", "seconds"),
    )
    parts = seconds_of_epoch(options, net)
    for name, value in parts.items():
        print_row(name, f"{value:.3g}")
    epoch = sum(parts.values())
    print_row("epoch", f"{epoch:.3g}")
    hours = options.epochs * epoch / 3600
    print_row(f"{options.epochs} epochs, hours", f"{hours:.3g}")
    # Once for the two views of a step, once for the embedding.
    reading = 2 * options.images / (options.gpus * options.cores * options.decodes)
    print_row("reading, at the same time", f"{reading:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=int, default=1_281_167)
    add("--size", type=int, default=224)
    add("--n-clusters", type=int, default=1000)
    add("--backbone", default="resnet50")
    add("--batch-size", type=int, default=256, help="of each GPU")
    add("--gpus", type=int, default=8)
    add("--epochs", type=int, default=200)
    add("--gather", action="store_true", help="losses over all GPUs")
    add("--n-init", type=int, default=10, help="restarts")
    add("--iterations", type=int, default=50, help="of k-means")
    add("--tflops", type=float, default=60.0, help="bfloat16, sustained")
    add("--fp32-tflops", type=float, default=20.0, help="sustained")
    add("--link-gb", type=float, default=200.0, help="GB/s of a GPU")
    add("--cores", type=int, default=16, help="of each GPU")
    add("--decodes", type=float, default=100.0, help="per second and core")
    options = parser.parse_args()
    print_networks()
    print_run(options)


if __name__ == "__main__":
    main()
