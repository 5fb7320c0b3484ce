"""Images per second of a training, beside lightly's BYOL, and where the time goes.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --data cifar10.npz --csv throughput.csv

Three trainings by Lightning's Trainer take turns, all with the same backbone: lightly's
BYOL as its example has it (docs/examples/byol.py: BYOLTransform on PIL images in a
DataLoader, float32), HaDis with HaDisTransform in the same DataLoader, and HaDis as a
recipe runs it (``data.pipeline=auto``, all performance options ``auto``). A turn is a
fit of its own; its first steps, in which workers start and kernels are compiled, do not count.

Seconds per epoch are those of 60,000 images: their steps, and for HaDis embedding them
and k-means on 60,000 rows. Stages are measured one after the other, waiting for the
device after each, which the training does not; so their sum is longer than a step.
GiB are those of the device, or on a CPU of the process so far.
"of ceiling" is the share of the rate at which this device multiplies large matrices or
convolves, whichever is faster, in the precision of the training.

Without options the settings are those of CIFAR-10 on a GPU, and small ones on a CPU.
"""

from __future__ import annotations

import argparse
import csv
import logging
import resource
import runpy
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from lightly.transforms import BYOLTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from hadis_lightly.cluster import fit_partition
from hadis_lightly.data import ArraySource, IndexedDataset
from hadis_lightly.data.image_source import position_keys
from hadis_lightly.methods.method import Parts
from hadis_lightly.methods.registry import build_model, method_of
from hadis_lightly.models import HaDisModel, build_backbone, feature_dim
from hadis_lightly.runs.performance import (
    describe_performance,
    resolve_performance,
    resolve_precision,
)
from hadis_lightly.runs.pipeline import Pipeline, build_pipeline
from hadis_lightly.settings import Settings
from hadis_lightly.system import available_cores, cores_left_by_workers
from hadis_lightly.training import HaDis
from hadis_lightly.training.embedding import embed_dataset
from hadis_lightly.training.hadis import symmetric_terms

EPOCH = 60_000
BYOL_EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "byol.py"


def parser_of(description: str | None) -> tuple[argparse.ArgumentParser, bool]:
    """A parser with the options of every training, and whether it is for a GPU."""
    first_line = (description or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=first_line, add_help=False)
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if has_gpu else "cpu")
    is_gpu = parser.parse_known_args()[0].device != "cpu"
    parser.add_argument(
        "--backbone", default="small_resnet18" if is_gpu else "resnet18"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", default="auto")
    parser.add_argument("--precision", default="auto")
    # Last: the look at the device would print it with half of the options.
    parser.add_argument("-h", "--help", action="help")
    return parser, is_gpu


def parse() -> argparse.Namespace:
    parser, is_gpu = parser_of(__doc__)
    parser.add_argument("--batch-size", type=int, default=256 if is_gpu else 64)
    parser.add_argument("--input-size", type=int, default=32)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--images", type=int, default=20_000 if is_gpu else 1024)
    parser.add_argument("--steps", type=int, default=60 if is_gpu else 6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--kmeans-rows", type=int, default=EPOCH)
    parser.add_argument("--data", type=Path, help="npz with the array images")
    parser.add_argument("--csv", type=Path, help="file for every turn and stage")
    return parser.parse_args()


def load(options: argparse.Namespace) -> ArraySource:
    """Images of the file, or noise: the time does not depend on what they show.

    Enough of them for a turn: it is to have no end of an epoch within.
    """
    least = options.batch_size * (warm_steps(options) + options.steps + 1)
    size, n = options.input_size, max(options.images, least)
    if options.data is None:
        generator = np.random.default_rng(0)
        images = generator.integers(256, size=(n, size, size, 3), dtype=np.uint8)
    else:
        with np.load(options.data) as file:
            images = file["images"]
        images = images[np.arange(n) % len(images)]
    return ArraySource("npz", None, np.zeros(n, int), position_keys(n), "", 3, images)


def settings_of(options: argparse.Namespace, engine: str) -> Settings:
    settings = Settings(n_clusters=options.clusters)
    settings.data.pipeline = engine
    settings.loader.batch_size = options.batch_size
    settings.loader.num_workers = options.workers
    settings.views.input_size = options.input_size
    settings.model.backbone = options.backbone
    settings.clustering.warmup_epochs = settings.optimizer.warmup_epochs = 0
    settings.clustering.n_init = 1  # of the few images here; k-means is measured apart
    settings.trainer.accelerator = "cpu" if options.device == "cpu" else "gpu"
    settings.trainer.progress_bar = False
    settings.trainer.compile = options.compile
    settings.trainer.precision = options.precision
    settings.trainer.precision = resolve_precision(settings)
    return resolve_performance(settings, torch.device(options.device), EPOCH)


def loader_of(
    options: argparse.Namespace, source: ArraySource, transform: Any
) -> DataLoader[Any]:
    return DataLoader(
        IndexedDataset(source, transform),
        batch_size=options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        pin_memory=options.device != "cpu",
        persistent_workers=options.workers > 0,
    )


def lightly_byol(options: argparse.Namespace, source: ArraySource) -> Any:
    """Module, loader and precision of lightly's example, with our backbone."""
    torch.manual_seed(0)
    example = runpy.run_path(str(BYOL_EXAMPLE))
    module = example["Model"]()
    dim = feature_dim(build_backbone(options.backbone), 3, options.input_size)
    module.backbone = build_backbone(options.backbone)
    module.backbone_momentum = build_backbone(options.backbone).requires_grad_(False)
    if dim != 512:
        raise SystemExit("lightly's example has heads for 512 features only")
    transform = BYOLTransform(
        view_1_transform=BYOLView1Transform(input_size=options.input_size),
        view_2_transform=BYOLView2Transform(input_size=options.input_size),
    )
    return module, loader_of(options, source, transform), options.workers, "32-true"


def hadis(options: argparse.Namespace, source: ArraySource, engine: str) -> Any:
    """Module, loader and precision of HaDis, as a recipe would run it."""
    torch.manual_seed(0)
    settings = settings_of(options, engine)
    if engine == "lightly":  # nothing but the method changes beside lightly's BYOL
        settings.trainer.precision, settings.trainer.compile = "32-true", "off"
        settings.trainer.channels_last = settings.optimizer.fused = "off"
    module, pipeline = assemble(settings, source, torch.device(options.device))
    return (
        module,
        pipeline.train_loader,
        pipeline.num_workers,
        settings.trainer.precision,
    )


def assemble(
    settings: Settings, source: ArraySource, device: torch.device
) -> tuple[HaDis, Pipeline]:
    pipeline = build_pipeline(settings, source, device)
    method = method_of(settings)
    clusters = method.build_callback(settings, pipeline.plain_loader)
    model = build_model(settings, source.num_channels)
    if settings.trainer.channels_last == "on":
        model = model.to(memory_format=torch.channels_last)
    return method.build_module(
        Parts(settings, model, clusters, source, pipeline.views)
    ), pipeline


METHODS: dict[str, Callable[[argparse.Namespace, ArraySource], Any]] = {
    "lightly": lightly_byol,
    "same-loader": lambda options, source: hadis(options, source, "lightly"),
    "ours": lambda options, source: hadis(options, source, "auto"),
}
NAMES = {
    "lightly": "lightly's BYOL, its DataLoader",
    "same-loader": "HaDis, the same DataLoader",
    "ours": "HaDis, engine and switches auto",
}


def warm_steps(options: argparse.Namespace) -> int:
    """Steps that do not count: more than workers have batches in store."""
    return max(3 if options.device == "cpu" else 20, 2 * options.workers + 1)


class Clock(pl.Callback):
    """Takes the time from one step to another, waiting for the device at both."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.seconds = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step in (self.first, self.last):
            synchronize()
            self.seconds = time.perf_counter() - self.seconds


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def rate(options: argparse.Namespace, method: str, source: ArraySource) -> float:
    """Images per second over one fit, after its first steps."""
    module, loader, num_workers, precision = METHODS[method](options, source)
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
    return options.steps * options.batch_size / clock.seconds


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median time of some work, the first two times left out."""
    times = []
    for _ in range(repeats + 2):
        synchronize()
        start = time.perf_counter()
        work()
        synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[2:])


class Training:
    """The parts of a training of ours, to be called one by one.

    Args:
        settings: All settings, their switches resolved.
        source: The images.
        device: Where it takes place.
    """

    def __init__(
        self, settings: Settings, source: ArraySource, device: torch.device
    ) -> None:
        self.settings, self.source, self.device = settings, source, device
        torch.backends.cudnn.benchmark = True  # as in every run
        self.module, self.pipeline = assemble(settings, source, device)
        self.module.to(device).train()
        self.model, self.criterion = self.module.model, self.module.criterion
        dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        half = dtypes.get(settings.trainer.precision)
        self.precision = torch.autocast(device.type, half, enabled=half is not None)
        self.optimizer = torch.optim.SGD(
            self.module.parameters(),
            lr=1e-4,
            momentum=0.9,
            fused=settings.optimizer.fused == "on",
        )
        self._batches = iter(self.pipeline.train_loader)
        self.batch = self.data()
        self.x0, self.x1 = (view.clone() for view in self.views())
        self.labels = torch.randint(settings.n_clusters, (len(self.x0),), device=device)

    def data(self) -> list[torch.Tensor]:
        try:
            batch = next(self._batches)
        except StopIteration:
            self._batches = iter(self.pipeline.train_loader)
            batch = next(self._batches)
        return [x.to(self.device) for x in batch]

    def views(self) -> list[torch.Tensor]:
        views: list[torch.Tensor]
        views = self.module.on_after_batch_transfer(self.batch, 0)[0]
        return views

    def student(self) -> Any:
        with self.precision:
            return [self.model.forward_student(x) for x in (self.x0, self.x1)]

    def teacher(self) -> Any:
        with self.precision:
            return [self.model.forward_teacher(x) for x in (self.x0, self.x1)]

    def forward_and_backward(self) -> None:
        with self.precision:
            terms = symmetric_terms(
                self.model, self.criterion, self.x0, self.x1, self.labels, diffuse=True
            )
        self.optimizer.zero_grad()
        terms.loss.backward()

    def update(self) -> None:
        self.model.update_teacher(0.996)
        self.optimizer.step()

    def step(self) -> None:
        self.batch = self.data()
        self.x0, self.x1 = self.views()
        self.forward_and_backward()
        self.update()

    def embed(self) -> None:
        with self.precision:
            embed_dataset(self.module, self.pipeline.plain_loader)


def stages(options: argparse.Namespace, source: ArraySource) -> dict[str, float]:
    """Milliseconds of every stage of a step of ours, and of the clustering pass."""
    settings, device = settings_of(options, "auto"), torch.device(options.device)
    training, repeats = Training(settings, source, device), max(3, options.steps // 2)
    pipeline = training.pipeline
    print(describe_performance(settings, pipeline.kind, pipeline.reason))
    projected = [(z.detach(), p.detach()) for z, p in training.student()]
    t0, t1 = training.teacher()

    def losses() -> Any:
        return [
            training.criterion(
                student=z, prediction=p, teacher=t, labels=training.labels
            )
            for (z, p), t in zip(projected, (t1, t0), strict=True)
        ]

    result = {
        "data": milliseconds(training.data, repeats),
        "views": milliseconds(training.views, repeats),
        "student": milliseconds(training.student, repeats),
        "teacher": milliseconds(training.teacher, repeats),
        "losses": milliseconds(losses, repeats),
    }
    forward = result["student"] + result["teacher"] + result["losses"]
    everything = milliseconds(training.forward_and_backward, repeats)
    result["backward"] = max(0.0, everything - forward)
    result["optimiser"] = milliseconds(training.update, repeats)
    result["embedding"] = milliseconds(training.embed, 1) / len(source) * EPOCH
    rows = clustered_rows(options.kmeans_rows, options.clusters, device)
    result["k-means"] = milliseconds(
        lambda: fit_partition(rows, options.clusters, random_state=0), 1
    )
    return result


def clustered_rows(n: int, k: int, device: torch.device) -> torch.Tensor:
    """Rows of length one around k directions, 256 columns."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(k, 256, generator=generator)
    rows = means[torch.arange(n) % k] + torch.randn(n, 256, generator=generator)
    return F.normalize(rows).to(device)


def flops_of_a_step(options: argparse.Namespace) -> float:
    """Operations of the networks for one image, counted on a batch of two."""
    settings = settings_of(options, "auto")
    pixels = np.zeros((2, options.input_size, options.input_size, 3), np.uint8)
    source = ArraySource("npz", None, np.zeros(2, int), position_keys(2), "", 3, pixels)
    model: HaDisModel = build_model(settings, source.num_channels)
    x = torch.zeros(2, 3, options.input_size, options.input_size)
    with FlopCounterMode(display=False) as counter:
        for _ in range(2):
            _, p = model.forward_student(x)
            model.forward_teacher(x)
            p.sum().backward()
    return counter.get_total_flops() / 2


def ceiling(options: argparse.Namespace) -> float:
    """Operations per second of large products and convolutions, the faster one."""
    device = torch.device(options.device)
    is_half = settings_of(options, "auto").trainer.precision.startswith(("bf16", "16"))
    dtype = torch.bfloat16 if is_half else torch.float32
    side, n, c = (8192, 256, 256) if device.type == "cuda" else (1536, 8, 128)
    a = torch.randn(side, side, device=device, dtype=dtype)
    x = torch.randn(n, c, 32, 32, device=device, dtype=dtype)
    x = x.to(memory_format=torch.channels_last)
    w = torch.randn(c, c, 3, 3, device=device, dtype=dtype)
    w = w.to(memory_format=torch.channels_last)
    product = 2 * side**3 / milliseconds(lambda: a @ a, 10)
    convolution = (
        2
        * n
        * 32
        * 32
        * c
        * c
        * 9
        / milliseconds(lambda: F.conv2d(x, w, padding=1), 10)
    )
    return 1000 * max(product, convolution)


def peak_memory(options: argparse.Namespace) -> float:
    """GiB at most of the device since the last turn, or of this process until now."""
    if options.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for message in (".*does not have many workers.*", ".*LeafSpec.*"):
        warnings.filterwarnings("ignore", message)
    source = load(options)
    print(
        f"{options.backbone}, batch {options.batch_size}, {options.input_size} px, "
        f"{options.device}, {options.workers} workers, "
        f"{torch.get_num_threads()} threads"
    )
    rates: dict[str, list[float]] = {method: [] for method in options.methods}
    memory: dict[str, float] = {}
    for _ in range(options.rounds):
        for method, turns in rates.items():
            turns.append(rate(options, method, source))
            memory[method] = peak_memory(options)
        if options.csv:  # after every round, so that a stop loses little
            write(options.csv, rates, {})
    of_stage = stages(options, source)
    clustering = (of_stage["embedding"] + of_stage["k-means"]) / 1000

    base = statistics.median(next(iter(rates.values())))
    print(f"\n{'':34}{'images/s':>9}{'spread':>14}{'ratio':>8}{'s/epoch':>9}{'GiB':>7}")
    for method, turns in rates.items():
        median = statistics.median(turns)
        epoch = EPOCH / median + (clustering if method != "lightly" else 0)
        spread = f"{min(turns):.0f}-{max(turns):.0f}"
        ratio = f"{median / base:.2f}x"
        print(
            f"{NAMES[method]:34}{median:9.0f}{spread:>14}{ratio:>8}{epoch:9.1f}"
            f"{memory[method]:7.2f}"
        )
    in_step = [name for name in of_stage if name not in ("embedding", "k-means")]
    total = sum(of_stage[name] for name in in_step)
    print(f"\n{'stage of a step':16}{'ms':>9}{'share':>8}")
    for name in in_step:
        print(f"{name:16}{of_stage[name]:9.2f}{of_stage[name] / total:8.1%}")
    print(f"\nembedding {EPOCH:,} images: {of_stage['embedding'] / 1000:.2f} s")
    print(
        f"k-means of {options.kmeans_rows:,} rows: {of_stage['k-means'] / 1000:.2f} s"
    )
    if "ours" in rates:
        flops, top = flops_of_a_step(options), ceiling(options)
        share = flops * statistics.median(rates["ours"]) / top
        print(
            f"{flops / 1e9:.2f} GFLOP per image, {share:.1%} of ceiling "
            f"({top / 1e12:.2f} TFLOP/s)"
        )
    if options.csv:
        write(options.csv, rates, of_stage)


def write(
    path: Path, rates: dict[str, list[float]], of_stage: dict[str, float]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["what", "name", "round", "value"])
        for method, turns in rates.items():
            for number, value in enumerate(turns):
                writer.writerow(["images/s", method, number, f"{value:.2f}"])
        for name, value in of_stage.items():
            writer.writerow(["ms", name, 0, f"{value:.4f}"])


if __name__ == "__main__":
    main()
