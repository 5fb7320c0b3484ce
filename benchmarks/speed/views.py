"""Two-view images per second: batches of views, and views of one image after another.

    python benchmarks/speed/views.py
    python benchmarks/speed/views.py --size 96 --source-size 160 --threads 8 --compile
    python benchmarks/speed/views.py --data cifar10.npz --device cuda --csv views.csv

Every method starts from images on the host, PIL images or uint8 batches, and ends with
two batches of normalised float views on ``--device``. It is timed over whole batches
for ``--seconds``; the methods take turns, ``--rounds`` times. Leave the machine idle:
threads that wait spin, and were up to 80 times slower beside other load
(``OMP_WAIT_POLICY=PASSIVE`` avoids that).

"BYOL" has the distribution of lightly's BYOLTransform at ``--size``, "HaDis" that of
HaDisTransform. Ratios are to that transform on single images on the same number of
cores, in this process or in workers, whichever is faster; on a GPU to ``--threads``
cores. Workers are those of a DataLoader, one thread each; a turn starts them and waits
for two batches of each first. The process that receives batches is not counted.

torchvision v2 draws once for a whole batch, and so does less. kornia draws for each
image, but one order of the jitter for all; its crop has no antialiasing. Both blur over
3 standard deviations. kornia is skipped if it is not installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightly.transforms import BYOLTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from measuring import build_parser, describe_machine, synchronize, write_rows
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from view_libraries import Make, views_of_libraries

from hadis_lightly.transforms import BatchedViews, HaDisTransform

# Enough batches to vary; more would only fill the memory.
BATCHES = 4
TRANSFORMS = ("BYOL", "HaDis")


class Turn(NamedTuple):
    """Images and seconds of one turn."""

    images: int
    seconds: float


@dataclass
class Method:
    """One row of the table."""

    transform: str
    name: str
    cores: int | None
    """None where the work is done on a GPU."""
    measure: Callable[[], Turn]
    is_base: bool = False
    """Whether it is the transform of single images that others are compared with."""
    turns: list[Turn] = field(default_factory=list)

    def rates(self) -> list[float]:
        return [turn.images / turn.seconds for turn in self.turns]


class Views(Dataset[list[Tensor]]):
    """The views of PIL images, one image at a time, over and over again."""

    def __init__(self, images: np.ndarray, transform: Any) -> None:
        self.images = [Image.fromarray(image) for image in images]
        self.transform = transform

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.images[index % len(self.images)])


def time_batches(
    make: Callable[[], object], size: int, options: argparse.Namespace
) -> Turn:
    """Calls for ``--seconds``; each makes ``size`` images."""
    synchronize(options.device)
    start = time.perf_counter()
    calls = 0
    while calls == 0 or time.perf_counter() - start < options.seconds:
        make()
        calls += 1
    synchronize(options.device)
    return Turn(calls * size, time.perf_counter() - start)


def in_this_process(
    make: Make, images: np.ndarray, threads: int, options: argparse.Namespace
) -> Turn:
    """Makes one batch after another, the first one to warm up."""
    torch.set_num_threads(threads)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    if options.device != "cpu":
        tensor = tensor.pin_memory()  # as a DataLoader for a GPU delivers them
    batches = cycle(tensor.split(options.batch_size))

    def run() -> None:
        make(next(batches).to(options.device, non_blocking=True))

    run()
    return time_batches(run, options.batch_size, options)


def one_by_one(transform: Any, images: np.ndarray, options: argparse.Namespace) -> Turn:
    """Lightly without workers: PIL images, then stacked."""
    torch.set_num_threads(1)
    views_of = Views(images, transform)
    numbers = count()

    def run() -> None:
        views = [views_of[i] for i in islice(numbers, options.batch_size)]
        for view in zip(*views, strict=True):
            torch.stack(view).to(options.device, non_blocking=True)

    run()
    return time_batches(run, options.batch_size, options)


def in_workers(transform: Any, images: np.ndarray, options: argparse.Namespace) -> Turn:
    """Takes batches from warm workers as fast as they come."""
    workers, size = options.threads, options.batch_size
    loader = DataLoader(
        Views(images, transform),
        batch_sampler=(range(start, start + size) for start in count(0, size)),
        num_workers=workers,
        pin_memory=options.device != "cpu",
    )
    batches = iter(loader)

    def take(n: int) -> None:
        for views in islice(batches, n):
            for view in views:
                view.to(options.device, non_blocking=True)

    take(2 * workers)
    # Batches of several workers arrive together, so a call takes one of each. On return
    # the iterator goes, and with it its workers.
    return time_batches(partial(take, workers), workers * size, options)


def methods(images: np.ndarray, options: argparse.Namespace) -> list[Method]:
    size, threads = options.size, options.threads
    on_gpu = options.device != "cpu"
    cores = None if on_gpu else threads
    byol = BYOLTransform(
        BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size)
    )
    singles = {"BYOL": byol, "HaDis": HaDisTransform(input_size=size)}
    found: list[Method] = []

    def add(name: str, make: Make, cores: int | None) -> None:
        measure = partial(in_this_process, make, images, cores or threads, options)
        found.append(Method(transform, name, cores, measure))

    def add_base(name: str, way: Callable[..., Turn], cores: int) -> None:
        measure = partial(way, single, images, options)
        name = f"{type(single).__name__}, {name}"
        found.append(Method(transform, name, cores, measure, is_base=True))

    for transform in options.transforms:
        single = singles[transform]
        views = BatchedViews.from_transform(single)
        if transform == "BYOL":
            add_base("this process", one_by_one, 1)
            if not on_gpu and threads > 1:
                add("BatchedViews", views, 1)
        add_base(
            "1 worker" if threads == 1 else f"{threads} workers", in_workers, threads
        )
        if transform == "BYOL":
            for name, make in views_of_libraries(views.views, options.device).items():
                add(name, make, cores)
        add("BatchedViews", views, cores)
        if options.compile:
            compiled = torch.compile(views.__call__, dynamic=False)
            add("BatchedViews, compiled", compiled, cores)
    return found


def load_images(options: argparse.Namespace) -> np.ndarray:
    """Whole batches of the images of ``--data``, or random ones without edges."""
    n, size = BATCHES * options.batch_size, options.source_size
    if options.data is None:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(n, 3, 5, 5, generator=generator)
        smooth = F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
        pixels = (255 * smooth).round().byte().permute(0, 2, 3, 1)
        return pixels.contiguous().numpy()
    with np.load(options.data) as archive:
        images: np.ndarray = archive["images"]
    n = min(len(images), n) // options.batch_size * options.batch_size
    if n == 0:
        raise SystemExit(f"{options.data} has only {len(images)} images")
    return images[:n]


def base_rate(method: Method, found: list[Method], threads: int) -> float:
    """Images per second of the transform of single images on the same cores."""
    cores = method.cores or threads
    return max(
        statistics.median(other.rates())
        for other in found
        if other.is_base and (other.transform, other.cores) == (method.transform, cores)
    )


def print_table(found: list[Method], options: argparse.Namespace) -> None:
    width = max(len(method.name) for method in found)
    print(
        f"{'views':<5} {'method':<{width}} {'cores':>5} {'2-view images/s':>15} "
        f"{'lowest - highest':>18} {'ratio':>7}"
    )
    for method in found:
        rates = method.rates()
        rate = statistics.median(rates)
        spread = f"{min(rates):,.0f} - {max(rates):,.0f}"
        ratio = rate / base_rate(method, found, options.threads)
        print(
            f"{method.transform:<5} {method.name:<{width}} {method.cores or 'GPU':>5} "
            f"{rate:15,.0f} {spread:>18} {ratio:6.2f}x"
        )


def table_of(found: list[Method]) -> list[dict[str, Any]]:
    return [
        {
            "transform": method.transform,
            "method": method.name,
            "cores": method.cores or "GPU",
            "round": i,
            **turn._asdict(),
        }
        for method in found
        for i, turn in enumerate(method.turns)
    ]


def parse() -> argparse.Namespace:
    parser = build_parser(__doc__)
    parser.add_argument("--size", type=int, default=32, help="of the views")
    parser.add_argument("--source-size", type=int, default=32, help="of random images")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--transforms", nargs="+", choices=TRANSFORMS, default=[*TRANSFORMS]
    )
    parser.add_argument("--compile", action="store_true", help="adds compiled rows")
    parser.add_argument("--data", type=Path, help="npz, images uint8 (n, h, w, 3)")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images = load_images(options)
    height, width = images.shape[1:3]
    print(
        f"two views of {options.size} px of images of {height} x {width}, "
        f"batch {options.batch_size}, {describe_machine(options)}, "
        f"median of {options.rounds} turns of {options.seconds:g} s"
    )
    found = methods(images, options)
    for _ in range(options.rounds):
        for method in found:
            method.turns.append(method.measure())
        write_rows(options.csv, table_of(found))  # an interruption is cheap
    print_table(found, options)


if __name__ == "__main__":
    main()
