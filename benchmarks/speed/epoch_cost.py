"""The cost of an epoch by formula: what networks cost, and a run on GPUs.

    python benchmarks/epoch_cost.py
    python benchmarks/epoch_cost.py --tflops 100 --gpus 1 --batch-size 512

Nothing is measured here. The operations of the networks are counted without data, the
rest are the formulas of docs/scaling.md. The rates of a run are assumptions: the
options below. ``benchmarks/epoch_cost_check.py`` sets formulas beside measurements.
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
# Of every pair of a batch: tables of distances, masks and masked copies; memberships,
# means, products and what the backward pass makes of them.
HSD_BYTES, PCL_BYTES = 14, 22


class Network:
    """What one image costs in the networks, counted on a batch of two.

    Attributes:
        step: Operations of a step: two views, student and teacher.
        embedding: Operations of one embedding.
        kept: Bytes kept for the backward pass of one view, in float32.
        parameters: Those that want a gradient.
    """

    def __init__(self, backbone_name: str, size_px: int) -> None:
        backbone = build_backbone(backbone_name)
        projector = HaDisProjectionHead(feature_dim(backbone, 3, size_px))
        model = HaDisModel(backbone, projector, HaDisPredictionHead()).to("meta")
        x = torch.zeros(2, 3, size_px, size_px, device="meta")
        learnt = [p for p in model.parameters() if p.requires_grad]
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
        for parameter in learnt:
            kept.pop(parameter.untyped_storage()._cdata, None)
        self.kept = sum(tensor.nbytes for tensor in kept.values()) / 2
        self.parameters = sum(p.numel() for p in learnt)


def hsd(b: int, d: int) -> float:
    """Operations of HSD, one direction: differences, squares and sums of two tables."""
    return 6 * b**2 * d


def pcl(b: int, d: int, k: int) -> float:
    """Operations of the products of PCL, one direction, forward and backward."""
    m = min(b, k)
    return 6 * b * m * d + 6 * m**2 * d


def searched_rows(n: int, k: int) -> int:
    """Rows on which k-means searches."""
    s = max(8192, 256 * k)
    return n if n < 2 * s else s


class KMeansCost:
    """Operations of the stages of k-means, for one process.

    Args:
        n: Rows.
        d: Columns.
        k: Clusters.
        iterations: Of the search, and of what follows on all rows.
        n_init: Restarts.
        gpus: Processes that share them.
    """

    def __init__(
        self,
        n: int,
        d: int,
        k: int,
        iterations: tuple[int, int],
        n_init: int,
        gpus: int,
    ) -> None:
        s, product = searched_rows(n, k), 2 * k * d
        own = math.ceil(n_init / gpus)
        searching, refining = iterations
        self.seeding = n_init * (2 + int(math.log(k))) * s * product
        self.search = own * searching * 2 * s * product
        if s == n and n_init == 1:
            self.search = 0.0  # one start on all rows is refined at once
        ranked = own if s < n and n_init > 1 else 0
        self.ranking = ranked * 2 * n * product
        # First all rows and their sums, then at most all rows that may change; the two
        # best restarts, unless there is one.
        best = math.ceil(min(n_init, 2) / gpus) if s < n else 1
        self.refine = best * (1 + refining) * n * product
        self.settle = n * product

    def stages(self) -> dict[str, float]:
        return {name: work for name, work in vars(self).items() if work > 0}


def row_of(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head_of(title: str, *cells: str) -> None:
    print(f"\n{title}\n")
    row_of(*cells)
    print("|" + " --- |" * len(cells))


def networks() -> None:
    head_of(
        "Networks, per image",
        *("backbone", "px", "step, GFLOP", "embedding, GFLOP"),
        *("kept for backward of a view, MiB", "parameters, million"),
    )
    for name, size in (("small_resnet18", 32), ("resnet18", 32), ("resnet50", 224)):
        net = Network(name, size)
        giga = (f"{work / 1e9:.2f}" for work in (net.step, net.embedding))
        row_of(
            name, size, *giga, f"{net.kept / 2**20:.1f}", f"{net.parameters / 1e6:.1f}"
        )


def seconds_of_epoch(options: argparse.Namespace, net: Network) -> dict[str, float]:
    """Of every part, on GPUs whose rates are the options."""
    n, k, b, g = options.images, options.clusters, options.batch_size, options.gpus
    half, full = options.tflops * 1e12, options.fp32_tflops * 1e12
    link, steps = options.link_gb * 1e9, n // (b * g)
    together = b * g if options.gather else b
    of_losses = 2 * (hsd(together, DIM) + pcl(together, DIM, k))
    gradients = 2 * (g - 1) / g * 4 * net.parameters
    # Two directions: three tensors come from each other process; the gradients of two
    # of them are summed over all.
    gathered = 2 * (3 + 2 * 2) * (g - 1) * b * DIM * 4 * options.gather
    work = KMeansCost(n, DIM, k, (options.iterations,) * 2, options.n_init, g)
    return {
        "steps of the networks": steps * b * net.step / half,
        "losses": steps * of_losses / full,
        "gradients between processes": steps * gradients / link,
        "gathering for the losses": steps * gathered / link,
        "embedding": n / g * net.embedding / half,
        "embeddings between processes": n * DIM * 4 * (g - 1) / g / link,
        **{f"k-means, {stage}": x / full for stage, x in work.stages().items()},
        "labels by the prototypes, float64": 2 * n * k * DIM / full,
    }


def memory(options: argparse.Namespace, net: Network) -> dict[str, float]:
    """Bytes of one process, by what they are for."""
    n, b = options.images, options.batch_size
    together = b * options.gpus if options.gather else b
    return {
        "weights, gradients, momentum, teacher": 16 * net.parameters,
        "kept for backward, two views, float32": 2 * b * net.kept,
        "the same in bfloat16": b * net.kept,
        "HSD": HSD_BYTES * together**2,
        "PCL": PCL_BYTES * together * min(together, options.clusters),
        "embeddings": 4 * n * DIM,
        "embedding and clustering together": 5 * 4 * n * DIM,
        "images as uint8, if resident": 3 * n * options.size**2,
    }


def run(options: argparse.Namespace) -> None:
    """A whole run on GPUs, all rates assumed."""
    net = Network(options.backbone, options.size)
    head_of(
        f"{options.backbone}, {options.images:,} images of {options.size} px, "
        f"K {options.clusters}, batch {options.batch_size} x {options.gpus}",
        *("part of an epoch", "seconds"),
    )
    parts = seconds_of_epoch(options, net)
    for name, value in parts.items():
        row_of(name, f"{value:.3g}")
    epoch = sum(parts.values())
    row_of("epoch", f"{epoch:.3g}")
    row_of(f"{options.epochs} epochs, hours", f"{options.epochs * epoch / 3600:.3g}")
    # Once for the two views of a step, once for the embedding.
    reading = 2 * options.images / (options.gpus * options.cores * options.decodes)
    row_of("reading, at the same time", f"{reading:.3g}")
    head_of("Memory of a process", "what", "GiB")
    for name, size in memory(options, net).items():
        row_of(name, f"{size / 2**30:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("images", 1_281_167), ("size", 224), ("clusters", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=256, help="of each GPU")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--gather", action="store_true", help="losses over all GPUs")
    parser.add_argument("--n-init", type=int, default=10, help="restarts")
    parser.add_argument("--iterations", type=int, default=50, help="of k-means")
    parser.add_argument(
        "--tflops", type=float, default=60.0, help="bfloat16, sustained"
    )
    parser.add_argument("--fp32-tflops", type=float, default=20.0, help="sustained")
    parser.add_argument("--link-gb", type=float, default=200.0, help="GB/s of a GPU")
    parser.add_argument("--cores", type=int, default=16, help="of each GPU")
    parser.add_argument(
        "--decodes", type=float, default=100.0, help="a second and core"
    )
    options = parser.parse_args()
    networks()
    run(options)


if __name__ == "__main__":
    main()
