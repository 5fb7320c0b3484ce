"""Images per second of a training, beside lightly's BYOL, and where the time goes.

    python benchmarks/speed/throughput.py
    python benchmarks/speed/throughput.py --data cifar10.npz --csv throughput.csv

Three trainings by Lightning's Trainer take turns, all with the same backbone: lightly's
BYOL as in its example (docs/examples/byol.py: BYOLTransform on PIL images in a
DataLoader, float32), HaDis with HaDisTransform in the same DataLoader, and HaDis as a
recipe runs it (pipeline and performance options ``auto``). A turn is a fit of its own;
its first steps, in which workers start and kernels are compiled, do not count.

Seconds per epoch are those of 60,000 images: steps, and for HaDis embedding and k-means
as well. Stages are timed one by one, waiting for the device after each, so their sum is
longer than a step. GiB are the device's, or on a CPU the process's so far.
"""

from __future__ import annotations

import argparse
import logging
import resource
import runpy
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightly.transforms import BYOLTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from measuring import describe_machine, in_turns, synchronize, write_rows
from mixture import mixture
from torch.utils.data import DataLoader
from training_steps import (
    EPOCH,
    Training,
    assemble,
    build_training_parser,
    load,
    settings_of,
    warm_steps,
)

from hadis_lightly.cluster import fit_partition
from hadis_lightly.data import ArraySource, IndexedDataset
from hadis_lightly.models import build_backbone, feature_dim
from hadis_lightly.runs.performance import describe_performance
from hadis_lightly.system import available_cores, cores_left_by_workers

BYOL_EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "byol.py"
NAMES = {
    "lightly": "lightly's BYOL, its DataLoader",
    "same-loader": "HaDis, the same DataLoader",
    "ours": "HaDis, all options auto",
}


def parse() -> argparse.Namespace:
    parser, on_gpu = build_training_parser(__doc__)
    parser.add_argument("--images", type=int, default=20_000 if on_gpu else 1024)
    parser.add_argument("--steps", type=int, default=60 if on_gpu else 6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=[*NAMES], choices=NAMES)
    parser.add_argument("--kmeans-rows", type=int, default=EPOCH)
    parser.set_defaults(workers=available_cores())
    return parser.parse_args()


def lightly_byol(options: argparse.Namespace, source: ArraySource) -> Any:
    """Module, loader, workers and precision of lightly's example, with our backbone."""
    size = options.input_size
    module = runpy.run_path(str(BYOL_EXAMPLE))["Model"]()
    if feature_dim(build_backbone(options.backbone), 3, size) != 512:
        raise SystemExit("lightly's example has heads for 512 features only")
    module.backbone = build_backbone(options.backbone)
    module.backbone_momentum = build_backbone(options.backbone).requires_grad_(False)
    transform = BYOLTransform(
        BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size)
    )
    loader = DataLoader(
        IndexedDataset(source, transform),
        batch_size=options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        pin_memory=options.device != "cpu",
        persistent_workers=options.workers > 0,
    )
    return module, loader, options.workers, "32-true"


def hadis(options: argparse.Namespace, source: ArraySource, pipeline: str) -> Any:
    """Module, loader, workers and precision of HaDis, as a recipe would run it."""
    settings = settings_of(options, pipeline)
    if pipeline == "lightly":  # only the method differs from lightly's BYOL
        settings.trainer.precision, settings.trainer.compile = "32-true", "off"
        settings.trainer.channels_last = settings.optimizer.fused = "off"
    module, found = assemble(settings, source, torch.device(options.device))
    return module, found.train_loader, found.num_workers, settings.trainer.precision


class Clock(pl.Callback):
    """Times the steps from one to another, waiting for the device at both."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.seconds = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step in (self.first, self.last):
            synchronize(trainer.strategy.root_device)
            self.seconds = time.perf_counter() - self.seconds


def rate(options: argparse.Namespace, method: str, source: ArraySource) -> float:
    """Images per second over one fit, after its first steps."""
    torch.manual_seed(0)
    if method == "lightly":
        built = lightly_byol(options, source)
    else:
        built = hadis(options, source, "auto" if method == "ours" else "lightly")
    module, loader, num_workers, precision = built
    warm = warm_steps(options)
    clock = Clock(warm, warm + options.steps)
    device = torch.device(options.device)
    trainer = pl.Trainer(
        max_steps=clock.last,
        max_epochs=10_000,
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=1,
        precision=precision,
        benchmark=method == "ours",  # of convolutions, as in every run
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with cores_left_by_workers(device, num_workers if device.type == "cpu" else 0):
        trainer.fit(module, loader)
    return float(options.steps * options.batch_size / clock.seconds)


def measure_stages(
    options: argparse.Namespace, source: ArraySource
) -> dict[str, float]:
    """Milliseconds of every stage of a step of ours, and of the clustering pass."""
    settings, device = settings_of(options, "auto"), torch.device(options.device)
    training, repeats = Training(settings, source, device), max(3, options.steps // 2)
    pipeline = training.pipeline
    print(describe_performance(settings, pipeline.kind, pipeline.reason))
    (z0, p0), (z1, p1) = [(z.detach(), p.detach()) for z, p in training.student()]
    t0, t1 = training.teacher()

    def losses() -> None:
        for z, p, t in ((z0, p0, t1), (z1, p1, t0)):
            labels = training.labels
            training.criterion(student=z, prediction=p, teacher=t, labels=labels)

    works = {
        "data": training.data,
        "views": training.views,
        "student": training.student,
        "teacher": training.teacher,
        "losses": losses,
        "backward": training.forward_and_backward,
        "optimiser": training.update,
    }
    found = {}
    for name, work in works.items():
        seconds = in_turns({name: work}, repeats, device, 2)[name]
        found[name] = 1000 * statistics.median(seconds)
    forward = found["student"] + found["teacher"] + found["losses"]
    found["backward"] = max(0.0, found["backward"] - forward)
    k = options.n_clusters
    rows = mixture(options.kmeans_rows, 256, k, 1.0).to(device)
    pass_works = {
        "embedding": training.embed,
        "k-means": lambda: fit_partition(rows, k, random_state=0),
    }
    seconds = in_turns(pass_works, 1, device)
    found["embedding"] = 1000 * seconds["embedding"][0] / len(source) * EPOCH
    return found | {"k-means": 1000 * seconds["k-means"][0]}


def peak_memory(options: argparse.Namespace) -> float:
    """GiB at most of the device since the last turn, or of this process until now."""
    if options.device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return peak


def print_rates(
    rates: dict[str, list[float]], memory: dict[str, float], clustering: float
) -> None:
    base = statistics.median(next(iter(rates.values())))
    print(f"\n{'':34}{'images/s':>9}{'spread':>14}{'ratio':>8}{'s/epoch':>9}{'GiB':>7}")
    for method, turns in rates.items():
        median = statistics.median(turns)
        epoch = EPOCH / median + (clustering if method != "lightly" else 0)
        spread = f"{min(turns):.0f}-{max(turns):.0f}"
        print(
            f"{NAMES[method]:34}{median:9.0f}{spread:>14}{median / base:7.2f}x"
            f"{epoch:9.1f}{memory[method]:7.2f}"
        )


def print_stages(stages: dict[str, float], kmeans_rows: int) -> None:
    in_step = {n: ms for n, ms in stages.items() if n not in ("embedding", "k-means")}
    total = sum(in_step.values())
    print(f"\n{'stage of a step':16}{'ms':>9}{'share':>8}")
    for name, ms in in_step.items():
        print(f"{name:16}{ms:9.2f}{ms / total:8.1%}")
    print(f"\nembedding {EPOCH:,} images: {stages['embedding'] / 1000:.2f} s")
    print(f"k-means of {kmeans_rows:,} rows: {stages['k-means'] / 1000:.2f} s")


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for message in (".*does not have many workers.*", ".*LeafSpec.*"):
        warnings.filterwarnings("ignore", message)
    # No epoch may end within a turn.
    steps = warm_steps(options) + options.steps + 1
    source = load(options, max(options.images, options.batch_size * steps))
    print(
        f"{options.backbone}, batch {options.batch_size}, {options.input_size} px, "
        f"{options.workers} workers, {describe_machine(options)}"
    )
    rates: dict[str, list[float]] = {method: [] for method in options.methods}
    memory: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for i in range(options.rounds):
        for method, turns in rates.items():
            value = rate(options, method, source)
            turns.append(value)
            row = {"what": "images/s", "name": method, "round": i}
            rows.append(row | {"value": f"{value:.2f}"})
            memory[method] = peak_memory(options)
        write_rows(options.csv, rows)  # an interruption is cheap
    stages = measure_stages(options, source)
    rows += [
        {"what": "ms", "name": name, "round": 0, "value": f"{value:.4f}"}
        for name, value in stages.items()
    ]
    write_rows(options.csv, rows)
    print_rates(rates, memory, (stages["embedding"] + stages["k-means"]) / 1000)
    print_stages(stages, options.kmeans_rows)


if __name__ == "__main__":
    main()
