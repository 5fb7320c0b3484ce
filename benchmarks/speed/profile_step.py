r"""Where the time of a training step goes, kernel by kernel.

    python benchmarks/speed/profile_step.py --data cifar10.npz
    python benchmarks/speed/profile_step.py --variants "trainer.compile=off" "" \
        "loader.batch_size=1024" --csv profile.csv

Every variant is HaDis as a recipe runs it, with the quoted settings changed; the empty
one changes nothing. Steps are first timed without the profiler, with one wait at the
end. PyTorch's profiler then records a few, and kernels are sorted by name, on a CPU
operations. "idle" is the part of a step in which the device waits for the host; only a
GPU shows it. A step has all that HaDis computes, without Lightning's loop.

Seconds per epoch are the steps of 60,000 images, without the clustering.
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from measuring import describe_machine, synchronize, write_rows
from omegaconf import OmegaConf
from torch.profiler import ProfilerActivity, profile
from training_steps import (
    EPOCH,
    Training,
    build_training_parser,
    load,
    settings_of,
    warm_steps,
)

#: Kinds of kernels, the first match counts: names of CUDA's libraries, of PyTorch's own
#: kernels and operations, of its compiler's output.
KINDS = {
    "batch norm": r"batch_?norm|bn_(fw|bw)",
    # Their names list everything that was fused; templates are convolutions.
    "fused by the compiler": r"^triton_(?!tem)|cpp_fused",
    "copy": r"memcpy|memset|copy|contiguous|_to\b|nchwtonhwc|nhwctonchw",
    "convolution": r"fprop|dgrad|wgrad|conv|cudnn",
    "matrix product": r"gemm|nvjet|cublas|cutlass|addmm|bmm|\bmm\b|matmul|linear",
    "optimiser, teacher": r"multi_tensor|fusedsgd|fused_sgd|foreach|lerp",
}
OTHER = "everything else"


@dataclass(frozen=True)
class Kernel:
    """Milliseconds and calls of one kernel, per step."""

    name: str
    ms: float
    calls: float

    @property
    def kind(self) -> str:
        name = self.name.lower()
        return next((k for k, words in KINDS.items() if re.search(words, name)), OTHER)


@dataclass(frozen=True)
class Profile:
    """A variant, measured."""

    settings: str
    batch: int
    step_ms: float
    kernels: list[Kernel]

    @property
    def busy_ms(self) -> float:
        return sum(kernel.ms for kernel in self.kernels)

    @property
    def epoch_s(self) -> float:
        return self.step_ms * (EPOCH // self.batch) / 1000


def measure(options: argparse.Namespace, words: str) -> Profile:
    """Times and profiles the steps of a variant."""
    torch.compiler.reset()  # each variant is a program of its own
    structured = OmegaConf.structured(settings_of(options, "auto"))
    changes = OmegaConf.from_dotlist(words.split())
    settings: Any = OmegaConf.to_object(OmegaConf.merge(structured, changes))
    batch, device = settings.loader.batch_size, torch.device(options.device)
    warm = warm_steps(options)
    # No epoch may end within the steps.
    least = batch * (warm + options.steps + 1)
    training = Training(settings, load(options, max(options.images, least)), device)
    training.steps(warm)
    synchronize(device)
    start = time.perf_counter()
    training.steps(options.steps)
    synchronize(device)
    step_ms = 1000 * (time.perf_counter() - start) / options.steps
    kernels = profile_steps(training, options.profiled_steps)
    return Profile(words, batch, step_ms, kernels)


def profile_steps(training: Training, n: int) -> list[Kernel]:
    """Kernels of ``n`` steps, per step, the longest first."""
    activities = [ProfilerActivity.CPU]
    if training.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=activities, acc_events=True) as record:
            training.steps(n)
            synchronize(training.device)
    totals: dict[str, tuple[float, int]] = {}
    for event in record.events() or ():
        if is_counted(event, training.device):
            us, calls = totals.get(event.name, (0.0, 0))
            totals[event.name] = us + own_microseconds(event), calls + 1
    kernels = [
        Kernel(name, us / 1000 / n, calls / n)
        for name, (us, calls) in totals.items()
        if us > 0
    ]
    return sorted(kernels, key=lambda kernel: -kernel.ms)


def is_counted(event: Any, device: torch.device) -> bool:
    """Whether an event is a kernel of the GPU, or on a CPU an operation.

    Annotations that span kernels, such as an optimiser's step, would count twice.
    """
    if device.type == "cuda":
        on_gpu = event.device_type == torch.autograd.DeviceType.CUDA
        return on_gpu and not getattr(event, "is_user_annotation", False)
    return bool(event.device_type == torch.autograd.DeviceType.CPU)


def own_microseconds(event: Any) -> float:
    if event.device_type == torch.autograd.DeviceType.CPU:
        return float(event.self_cpu_time_total)
    return float(event.time_range.elapsed_us())


def print_profile(found: Profile, options: argparse.Namespace) -> None:
    print(f"\n{found.settings or 'all options auto'}, batch {found.batch}")
    print(f"{'':24}{'ms':>9}{'share':>8}{'calls':>8}")
    for kind in (*KINDS, OTHER):
        own = [kernel for kernel in found.kernels if kernel.kind == kind]
        ms, calls = sum(k.ms for k in own), sum(k.calls for k in own)
        print(f"{kind:24}{ms:9.3f}{ms / found.busy_ms:8.1%}{calls:8.0f}")
    print(f"{'total':24}{found.busy_ms:9.3f}")
    if options.device != "cpu":
        idle = found.step_ms - found.busy_ms
        print(f"{'idle':24}{max(0.0, idle):9.3f}")
        if idle < 0:
            print("kernels overlapped, or the profiler slowed them down")
    print(
        f"a step: {found.step_ms:.2f} ms; the steps of an epoch: {found.epoch_s:.1f} s"
    )
    print("longest other than convolutions:")
    others = [kernel for kernel in found.kernels if kernel.kind != "convolution"]
    for kernel in others[: options.kernels]:
        print(f"  {kernel.ms:9.3f} ms {kernel.calls:7.0f} x  {kernel.name[:60]}")


def table_of(profiles: list[Profile]) -> list[dict[str, Any]]:
    return [
        {
            "settings": found.settings,
            "batch": found.batch,
            "step_ms": f"{found.step_ms:.4f}",
            "kind": kernel.kind,
            "kernel": kernel.name,
            "ms": f"{kernel.ms:.5f}",
            "calls": f"{kernel.calls:.2f}",
        }
        for found in profiles
        for kernel in found.kernels
    ]


def main() -> None:
    parser, on_gpu = build_training_parser(__doc__)
    variants = ["trainer.compile=off", ""] if on_gpu else [""]
    parser.add_argument("--variants", nargs="+", default=variants, metavar="SETTINGS")
    parser.add_argument("--images", type=int, default=20_000 if on_gpu else 1024)
    parser.add_argument("--steps", type=int, default=50 if on_gpu else 3)
    parser.add_argument("--profiled-steps", type=int, default=5 if on_gpu else 1)
    parser.add_argument("--kernels", type=int, default=12, help="how many to print")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{options.backbone}, {options.input_size} px, {describe_machine(options)}, "
        f"PyTorch {torch.__version__}"
    )
    profiles = []
    for words in options.variants:
        profiles.append(measure(options, words))
        write_rows(options.csv, table_of(profiles))  # an interruption is cheap
        print_profile(profiles[-1], options)
    if len(profiles) > 1:
        print("\nseconds per epoch, steps alone:")
        for found in profiles:
            ratio = found.epoch_s / profiles[0].epoch_s
            name = found.settings or "all options auto"
            print(f"  {found.epoch_s:9.1f} {ratio:6.2f} x  {name}")


if __name__ == "__main__":
    main()
