"""Two-view images per second: batches of views, and views of one image after another.

    python benchmarks/views.py
    python benchmarks/views.py --size 96 --source-size 160 --threads 8 --compile
    python benchmarks/views.py --data cifar10.npz --device cuda --csv views.csv

Every method starts from images on the host, as PIL images or as uint8 batches, and
ends with two batches of normalised float views on ``--device``. Its time is that of
whole batches over ``--seconds``; the methods take turns, ``--rounds`` times.

Leave the machine idle: work split over all cores waits, spinning, for one that others
keep busy, and was up to 80 times slower. ``OMP_WAIT_POLICY=PASSIVE`` in the environment
avoided that here.

"BYOL" is the law of lightly's BYOLTransform at ``--size``, "HaDis" that of
HaDisTransform. A law's ratios are to its transform of single images on the same number
of cores, in this process or in workers, whichever is faster. Those of a GPU are to that
on ``--threads`` cores.

Workers are processes of a DataLoader, each with one thread for PyTorch, as is usual. A
turn starts them and waits for two batches of each before it measures. The process that
receives the batches is not counted among their cores.

torchvision v2 draws once for all images of a batch, and so does less. kornia draws for
each image, but one order of the colour jitter for all; its crop has no antialiasing.
Both get a blur that reaches over 3 standard deviations. kornia is left out if it is
not installed.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightly.transforms import BYOLTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from hadis_lightly.transforms import BatchedViews, HaDisTransform
from hadis_lightly.transforms.view_distribution import ViewDistribution

try:
    import kornia.augmentation as kornia
except ImportError:
    kornia = None

# Batches that the images are enough for: more would only fill the memory.
BATCHES = 4
LAWS = ("BYOL", "HaDis")
Make = Callable[[int], list[Tensor]]


class Turn(NamedTuple):
    """What a method did in one turn."""

    images: int
    seconds: float


@dataclass
class Method:
    """One row of the table."""

    law: str
    name: str
    cores: int | None
    """None where the work is done on a GPU."""
    measure: Callable[[], Turn]
    is_base: bool = False
    """Whether it is the transform of single images that others are compared with."""
    turns: list[Turn] = field(default_factory=list)

    def rates(self) -> list[float]:
        return [turn.images / turn.seconds for turn in self.turns]


class Images:
    """The images, as uint8 batches on the host and as PIL images."""

    def __init__(self, images: np.ndarray, batch_size: int, device: str) -> None:
        self.pil = [Image.fromarray(image) for image in images]
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        if device != "cpu":
            tensor = tensor.pin_memory()  # as a DataLoader for a GPU delivers them
        self.batches = tensor.split(batch_size)

    def batch(self, number: int, device: str) -> Tensor:
        batch = self.batches[number % len(self.batches)]
        return batch.to(device, non_blocking=True)


class Views(Dataset[list[Tensor]]):
    """The views of PIL images, one image at a time, over and over again."""

    def __init__(self, images: list[Image.Image], transform: Any) -> None:
        self.images = images
        self.transform = transform

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.images[index % len(self.images)])


def in_this_process(make: Make, threads: int, options: argparse.Namespace) -> Turn:
    """Makes one batch after another, the first one to warm up."""
    torch.set_num_threads(threads)
    make(0)
    synchronize(options)
    start = time.perf_counter()
    calls = 0
    while calls == 0 or time.perf_counter() - start < options.seconds:
        calls += 1
        make(calls)
    synchronize(options)
    return Turn(calls * options.batch_size, time.perf_counter() - start)


def in_workers(images: Images, transform: Any, options: argparse.Namespace) -> Turn:
    """Takes batches from warm workers as fast as they come."""
    workers, size = options.threads, options.batch_size
    loader = DataLoader(
        Views(images.pil, transform),
        batch_sampler=(range(start, start + size) for start in count(0, size)),
        num_workers=workers,
        pin_memory=options.device != "cpu",
    )
    batches = iter(loader)
    # Workers deliver in turns. Counted one by one, batches that come together would
    # make a turn look better or worse than it is: so one of each worker at a time.
    take(2 * workers, batches, options)
    start = time.perf_counter()
    taken = 0
    while taken == 0 or time.perf_counter() - start < options.seconds:
        take(workers, batches, options)
        taken += workers
    synchronize(options)
    seconds = time.perf_counter() - start
    # Ends the workers, which would otherwise go on during the next method's turn.
    del batches
    return Turn(taken * size, seconds)


def take(n: int, batches: Iterator[list[Tensor]], options: argparse.Namespace) -> None:
    """Brings the next batches of views to the device."""
    for _ in range(n):
        for view in next(batches):
            view.to(options.device, non_blocking=True)


def synchronize(options: argparse.Namespace) -> None:
    if options.device != "cpu":
        torch.cuda.synchronize()


def one_by_one(images: Images, transform: Any, options: argparse.Namespace) -> Make:
    """The way of lightly without workers: PIL images, then stacked."""

    def make(number: int) -> list[Tensor]:
        start = number * options.batch_size
        views = [
            transform(images.pil[(start + i) % len(images.pil)])
            for i in range(options.batch_size)
        ]
        stacked = (torch.stack(view) for view in zip(*views, strict=True))
        return [view.to(options.device, non_blocking=True) for view in stacked]

    return make


def batched(images: Images, views: Any, options: argparse.Namespace) -> Make:
    """Any callable from a uint8 batch to views."""
    return lambda number: views(images.batch(number, options.device))


def blur_size(law: ViewDistribution) -> int:
    """Side of a blur's kernel: 3 standard deviations, less than can be mirrored."""
    return 2 * min(math.ceil(3 * law.blur_sigmas[1]), law.size - 1) + 1


def torchvision_view(law: ViewDistribution) -> v2.Compose:
    """The law in torchvision's transforms, in uint8 for as long as it can be."""
    jitter = v2.ColorJitter(*law.jitter)
    blur = v2.GaussianBlur(blur_size(law), law.blur_sigmas)
    steps = [
        v2.RandomResizedCrop(law.size, law.crop_scale, law.crop_ratio),
        v2.RandomHorizontalFlip(law.horizontal_flip_prob),
        v2.RandomApply([jitter], law.jitter_prob),
        v2.RandomGrayscale(law.gray_prob),
        v2.RandomApply([blur], law.blur_prob),
        v2.RandomSolarize(law.solarize_threshold, law.solarize_prob),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(law.mean, law.std),
    ]
    return v2.Compose(steps)


def kornia_view(law: ViewDistribution) -> torch.nn.Sequential:
    """The law in kornia's augmentations, with draws of each image's own."""
    threshold = law.solarize_threshold / 255
    return torch.nn.Sequential(
        kornia.RandomResizedCrop(
            (law.size, law.size),
            law.crop_scale,
            law.crop_ratio,
            cropping_mode="resample",  # all images at once; "slice" goes one by one
        ),
        kornia.RandomHorizontalFlip(p=law.horizontal_flip_prob),
        kornia.ColorJitter(*law.jitter, p=law.jitter_prob),
        kornia.RandomGrayscale(p=law.gray_prob),
        kornia.RandomGaussianBlur(
            (blur_size(law), blur_size(law)), law.blur_sigmas, p=law.blur_prob
        ),
        kornia.RandomSolarize((threshold, threshold), (0.0, 0.0), p=law.solarize_prob),
        kornia.Normalize(torch.tensor(law.mean), torch.tensor(law.std)),
    )


def torchvision_views(laws: tuple[ViewDistribution, ...]) -> Any:
    views = [torchvision_view(law) for law in laws]
    return lambda batch: [view(batch) for view in views]


def kornia_views(
    laws: tuple[ViewDistribution, ...], options: argparse.Namespace
) -> Any:
    views = [kornia_view(law).to(options.device) for law in laws]

    @torch.no_grad()
    def make(batch: Tensor) -> list[Tensor]:
        x = batch.float() / 255
        return [view(x) for view in views]

    return make


def methods(images: Images, options: argparse.Namespace) -> list[Method]:
    on_gpu = options.device != "cpu"
    found: list[Method] = []

    size, threads = options.size, options.threads

    def add(
        law: str, name: str, make: Make, cores: int | None, is_base: bool = False
    ) -> None:
        def measure() -> Turn:
            return in_this_process(make, cores or threads, options)

        found.append(Method(law, name, cores, measure, is_base))

    def add_workers(law: str, transform: Any) -> None:
        workers = "1 worker" if threads == 1 else f"{threads} workers"
        name = f"{type(transform).__name__}, {workers}"

        def measure() -> Turn:
            return in_workers(images, transform, options)

        found.append(Method(law, name, threads, measure, is_base=True))

    byol = BYOLTransform(
        BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size)
    )
    singles = {"BYOL": byol, "HaDis": HaDisTransform(input_size=size)}
    cores = None if on_gpu else threads
    for law in options.laws:
        single = singles[law]
        views = BatchedViews.from_transform(single)
        batches = batched(images, views, options)
        if law == "BYOL":
            made = one_by_one(images, single, options)
            add(law, "BYOLTransform, this process", made, 1, is_base=True)
            if not on_gpu and threads > 1:
                add(law, "BatchedViews", batches, 1)
        add_workers(law, single)
        if law == "BYOL":
            made = batched(images, torchvision_views(views.views), options)
            add(law, "torchvision v2, one draw per batch", made, cores)
            if kornia is not None:
                made = batched(images, kornia_views(views.views, options), options)
                add(law, "kornia", made, cores)
        add(law, "BatchedViews", batches, cores)
        if options.compile:
            compiled = torch.compile(views.__call__, dynamic=False)
            made = batched(images, compiled, options)
            made(0)  # compiles here, lest it goes on beside another method's turn
            add(law, "BatchedViews, compiled", made, cores)
    return found


def smooth_images(n: int, size: int) -> np.ndarray:
    """Random images without edges, uint8 ``(n, size, size, 3)``."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 5, 5, generator=generator)
    images = F.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return (255 * images).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def images_of(options: argparse.Namespace) -> np.ndarray:
    n = BATCHES * options.batch_size
    if options.data is None:
        return smooth_images(n, options.source_size)
    with np.load(options.data) as archive:
        images = archive["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise SystemExit(
            f"images must be uint8 (n, h, w, 3), got {images.dtype} {images.shape}"
        )
    n = min(len(images), n) // options.batch_size * options.batch_size
    if n == 0:
        raise SystemExit(f"{options.data} has only {len(images)} images")
    return images[:n]


def base_rate(method: Method, found: list[Method], threads: int) -> float:
    """Images per second of the transform of single images on the same cores."""
    cores = method.cores or threads
    rates = [
        statistics.median(other.rates())
        for other in found
        if other.is_base and other.law == method.law and other.cores == cores
    ]
    return max(rates)


def print_table(found: list[Method], options: argparse.Namespace) -> None:
    width = max(len(method.name) for method in found)
    print(
        f"{'law':<5} {'method':<{width}} {'cores':>5} {'2-view images/s':>15} "
        f"{'lowest - highest':>18} {'ratio':>7}"
    )
    sentences = []
    for method in found:
        rates = method.rates()
        rate = statistics.median(rates)
        spread = f"{min(rates):,.0f} - {max(rates):,.0f}"
        base = base_rate(method, found, options.threads)
        print(
            f"{method.law:<5} {method.name:<{width}} {method.cores or 'GPU':>5} "
            f"{rate:15,.0f} {spread:>18} {rate / base:6.2f}x"
        )
        if method.name == "BatchedViews" and method.cores in (None, options.threads):
            transform = "HaDisTransform"
            if method.law == "BYOL":
                transform = "lightly's BYOLTransform"
            sentences.append(f"{rate / base:.2f} x {transform}")
    cores = "1 core" if options.threads == 1 else f"{options.threads} cores"
    where = cores if options.device == "cpu" else "the GPU"
    print(f"BatchedViews on {where}: {', '.join(sentences)} on {cores}")


def write(path: Path, found: list[Method], options: argparse.Namespace) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["law", "method", "cores", "round", "images", "seconds"])
        for method in found:
            for number, turn in enumerate(method.turns):
                row = (method.law, method.name, method.cores or "GPU", number, *turn)
                writer.writerow(row)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--size", type=int, default=32, help="of the views")
    parser.add_argument("--source-size", type=int, default=32, help="of random images")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--device", default=default_device)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=5.0, help="of one turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=list(LAWS))
    parser.add_argument("--compile", action="store_true", help="adds compiled rows")
    parser.add_argument(
        "--data", type=Path, help="npz with `images`, uint8 (n, h, w, 3)"
    )
    parser.add_argument("--csv", type=Path, help="file for every turn")
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images = images_of(options)
    height, width = images.shape[1:3]
    device = options.device
    if device != "cpu":
        device = torch.cuda.get_device_name()
    print(
        f"two views of {options.size} px of images of {height} x {width}, "
        f"batch {options.batch_size}, {device}, {options.threads} threads, "
        f"median of {options.rounds} turns of {options.seconds:g} s"
    )
    if kornia is None and "BYOL" in options.laws:
        print("kornia is not installed: left out")
    found = methods(Images(images, options.batch_size, options.device), options)
    # Taking turns, so that a busy moment of the machine meets them all.
    for _ in range(options.rounds):
        for method in found:
            method.turns.append(method.measure())
        if options.csv:  # after every round, so that a stop loses little
            write(options.csv, found, options)
    print_table(found, options)


if __name__ == "__main__":
    main()
