r"""Where the time of a training step goes, kernel by kernel: what is no convolution?

    python benchmarks/profile_step.py --data cifar10.npz
    python benchmarks/profile_step.py --variants "trainer.compile=off" "" \
        "loader.batch_size=1024" --csv profile.csv

Every variant is HaDis as a recipe runs it, with the settings in quotes changed; the
empty one changes nothing. A step is first timed without the profiler: many steps, one
wait at the end. Then PyTorch's profiler looks at a few of them, and what ran is sorted
by the names of the kernels, on a CPU by the names of operations. "idle" is what is left
of the step while the device waits for the host; it can only be told on a GPU. The step
has all that HaDis computes, but neither Lightning's loop nor a run's checks around it.

Seconds per epoch are those of the steps of 60,000 images, without the clustering, which
throughput.py measures.
"""

from __future__ import annotations

import argparse
import csv
import re
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recipe_settings import changed
from throughput import (
    EPOCH,
    Training,
    load,
    parser_of,
    settings_of,
    synchronize,
    warm_steps,
)
from torch.profiler import ProfilerActivity, profile

#: Kinds of kernels, the first that matches counts: names of CUDA's libraries, of
#: PyTorch's own kernels and operations, of what its compiler makes.
KINDS = {
    "batch norm": r"batch_?norm|bn_(fw|bw)",
    # Its programs name all that they take part in; templates are convolutions.
    "fused by the compiler": r"^triton_(?!tem)|cpp_fused",
    "copy": r"memcpy|memset|copy|contiguous|_to\b|nchwtonhwc|nhwctonchw",
    "convolution": r"fprop|dgrad|wgrad|conv|cudnn",
    "matrix product": r"gemm|nvjet|cublas|cutlass|addmm|bmm|\bmm\b|matmul|linear",
    "optimiser, teacher": r"multi_tensor|fusedsgd|fused_sgd|foreach|lerp",
}
REST = "everything else"


@dataclass(frozen=True)
class Kernel:
    """What one kernel takes of a step."""

    name: str
    ms: float
    calls: float

    @property
    def kind(self) -> str:
        """What it does, by its name."""
        name = self.name.lower()
        return next((k for k, words in KINDS.items() if re.search(words, name)), REST)


@dataclass(frozen=True)
class Profile:
    """A variant, measured."""

    settings: str
    batch_size: int
    step_ms: float
    kernels: list[Kernel]

    @property
    def busy_ms(self) -> float:
        """Time in which something ran, summed over all kernels."""
        return sum(kernel.ms for kernel in self.kernels)

    @property
    def epoch_s(self) -> float:
        """Seconds of the steps of an epoch of 60,000 images."""
        return self.step_ms * (EPOCH // self.batch_size) / 1000


def measure(options: argparse.Namespace, words: str) -> Profile:
    """Times and profiles the steps of a variant."""
    torch.compiler.reset()  # each variant is a program of its own
    settings = changed(settings_of(options, "auto"), words.split())
    options.batch_size = settings.loader.batch_size
    device = torch.device(options.device)
    training = Training(settings, load(options), device)
    for _ in range(warm_steps(options)):
        training.step()
    synchronize()
    start = time.perf_counter()
    for _ in range(options.steps):
        training.step()
    synchronize()
    step_ms = 1000 * (time.perf_counter() - start) / options.steps
    kernels = profiled(training, options.profiled_steps, device)
    return Profile(words, settings.loader.batch_size, step_ms, kernels)


def profiled(training: Training, steps: int, device: torch.device) -> list[Kernel]:
    """What ran in some steps, per step, the longest first."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=activities, acc_events=True) as record:
            for _ in range(steps):
                training.step()
            synchronize()
    totals: dict[str, list[float]] = {}
    for event in record.events() or ():
        if not is_counted(event, device):
            continue
        total = totals.setdefault(event.name, [0.0, 0])
        total[0] += _own_microseconds(event)
        total[1] += 1
    kernels = (
        Kernel(name, us / 1000 / steps, calls / steps)
        for name, (us, calls) in totals.items()
        if us > 0
    )
    return sorted(kernels, key=lambda kernel: -kernel.ms)


def is_counted(event: Any, device: torch.device) -> bool:
    """Whether an event is a kernel of the GPU, or on a CPU an operation.

    What spans kernels, such as the step of an optimiser, would count them twice.
    """
    if device.type == "cuda":
        on_gpu = event.device_type == torch.autograd.DeviceType.CUDA
        return on_gpu and not getattr(event, "is_user_annotation", False)
    return bool(event.device_type == torch.autograd.DeviceType.CPU)


def _own_microseconds(event: Any) -> float:
    if event.device_type == torch.autograd.DeviceType.CPU:
        return float(event.self_cpu_time_total)
    return float(event.time_range.elapsed_us())


def by_kind(kernels: Iterable[Kernel]) -> dict[str, tuple[float, float]]:
    """Milliseconds and calls of every kind."""
    found = dict.fromkeys((*KINDS, REST), (0.0, 0.0))
    for kernel in kernels:
        ms, calls = found[kernel.kind]
        found[kernel.kind] = ms + kernel.ms, calls + kernel.calls
    return found


def print_profile(found: Profile, device: str, num_kernels: int) -> None:
    name = found.settings or "engine and switches auto"
    print(f"\n{name}, batch {found.batch_size}")
    print(f"{'':24}{'ms':>9}{'share':>8}{'calls':>8}")
    for kind, (ms, calls) in by_kind(found.kernels).items():
        print(f"{kind:24}{ms:9.3f}{ms / found.busy_ms:8.1%}{calls:8.0f}")
    print(f"{'all of them':24}{found.busy_ms:9.3f}")
    if device != "cpu":
        idle = found.step_ms - found.busy_ms
        print(f"{'idle':24}{max(0.0, idle):9.3f}")
        if idle < 0:
            print("kernels ran beside each other, or the profiler slowed them down")
    print(
        f"a step: {found.step_ms:.2f} ms; the steps of an epoch: {found.epoch_s:.1f} s"
    )
    rest = [kernel for kernel in found.kernels if kernel.kind != "convolution"]
    print("longest that are no convolution:")
    for kernel in rest[:num_kernels]:
        short = kernel.name if len(kernel.name) <= 60 else kernel.name[:57] + "..."
        print(f"  {kernel.ms:9.3f} ms {kernel.calls:7.0f} x  {short}")


def write(path: Path, profiles: list[Profile]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["settings", "batch", "step_ms", "kind", "kernel", "ms", "calls"]
        )
        for found in profiles:
            for kernel in found.kernels:
                writer.writerow(
                    [
                        found.settings,
                        found.batch_size,
                        f"{found.step_ms:.4f}",
                        kernel.kind,
                        kernel.name,
                        f"{kernel.ms:.5f}",
                        f"{kernel.calls:.2f}",
                    ]
                )


def parse() -> argparse.Namespace:
    parser, is_gpu = parser_of(__doc__)
    parser.add_argument(
        "--variants",
        nargs="+",
        default=["trainer.compile=off", ""] if is_gpu else [""],
        metavar="SETTINGS",
    )
    parser.add_argument("--batch-size", type=int, default=256 if is_gpu else 64)
    parser.add_argument("--input-size", type=int, default=32)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--images", type=int, default=20_000 if is_gpu else 1024)
    parser.add_argument("--steps", type=int, default=50 if is_gpu else 3)
    parser.add_argument("--profiled-steps", type=int, default=5 if is_gpu else 1)
    parser.add_argument("--kernels", type=int, default=12, help="how many to print")
    parser.add_argument("--data", type=Path, help="npz with the array images")
    parser.add_argument("--csv", type=Path, help="file for every kernel")
    parser.set_defaults(workers=0)
    return parser.parse_args()


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    print(
        f"{options.backbone}, {options.input_size} px, {options.device}, "
        f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    )
    profiles = []
    for words in options.variants:
        profiles.append(measure(options, words))
        if options.csv:  # after every one, so that a stop loses little
            write(options.csv, profiles)
        print_profile(profiles[-1], options.device, options.kernels)
    if len(profiles) > 1:
        print("\nseconds per epoch, steps alone:")
        first = profiles[0].epoch_s
        for found in profiles:
            name = found.settings or "engine and switches auto"
            print(f"  {found.epoch_s:9.1f} {found.epoch_s / first:6.2f} x  {name}")


if __name__ == "__main__":
    main()
