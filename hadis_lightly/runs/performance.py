"""Performance options, and what ``auto`` resolves to."""

from __future__ import annotations

import dataclasses
import shutil
import warnings

import torch
from torch import Tensor, nn

from hadis_lightly.models.evaluation_mode import evaluating
from hadis_lightly.precision import has_native_bfloat16
from hadis_lightly.settings.errors import SettingsError
from hadis_lightly.settings.sections import Settings

# Compilation does not pay for a run of fewer steps.
_MIN_STEPS = 2000
# On a CPU networks with fewer weights gain less than the conversions cost.
_MIN_WEIGHTS = 1_000_000


def resolve_precision(
    settings: Settings, backbone: nn.Module, earlier: str | None = None
) -> str:
    """``trainer.precision``; ``auto`` is bfloat16 where the hardware computes with it.

    GPUs before Ampere and most CPUs only emulate bfloat16; there it is float32, and so
    it is on a CPU for a backbone of less than a million weights. Nothing is timed: runs
    with the same settings on the same machine have the same bits.

    On CPUs PyTorch computes wrong gradients in bfloat16 for a convolution that strides
    over a single pixel (2.14.1; findings/bfloat16_stride_over_one_pixel.sh), as those
    of a ResNet-18 do below 17 pixels: there it is float32, too.

    Args:
        settings: All settings.
        backbone: The backbone of the run.
        earlier: Precision of the run that is resumed, which ``auto`` keeps.

    Raises:
        SettingsError: If bfloat16 is asked for where its gradients are wrong.
    """
    trainer = settings.trainer
    is_cpu = trainer.accelerator == "cpu" or not torch.cuda.is_available()
    wanted = _wanted_precision(settings, backbone, earlier)
    if not (is_cpu and wanted == "bf16-mixed"):
        return wanted
    views = settings.views
    sizes = {"views.input_size": views.size_px}
    if views.n_local_views:
        sizes["views.local_crop_size"] = views.local_size_px
    too_small = [
        f"{name}={size}"
        for name, size in sizes.items()
        if strides_over_one_pixel(backbone, views.num_channels, size)
    ]
    if not too_small:
        return wanted
    if trainer.precision == "auto":
        return "32-true"
    raise SettingsError(
        f"trainer.precision is bf16-mixed, but at {too_small[0]} "
        "a convolution of the backbone strides over a single pixel: PyTorch computes "
        "wrong gradients for that on a CPU. Set trainer.precision=32-true."
    )


@torch.no_grad()
def strides_over_one_pixel(network: nn.Module, channels: int, size: int) -> bool:
    """Whether a convolution with stride gets images of a single pixel.

    Args:
        network: A backbone.
        channels: Number of channels of its images.
        size: Their height and width.
    """
    found: list[bool] = []

    def look(layer: nn.Conv2d, inputs: tuple[Tensor]) -> None:
        found.append(min(inputs[0].shape[2:]) == 1)

    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
        and max(layer.stride) > 1
        and max(layer.kernel_size) > 1
    ]
    if layers:
        hooks = [layer.register_forward_pre_hook(look) for layer in layers]
        try:
            with evaluating(network):
                network(torch.zeros(1, channels, size, size))
        finally:
            for hook in hooks:
                hook.remove()
    return any(found)


def _wanted_precision(
    settings: Settings, backbone: nn.Module, earlier: str | None
) -> str:
    trainer = settings.trainer
    if trainer.precision != "auto":
        return trainer.precision
    if settings.model.train != "all":
        return "32-true"  # heads are small
    is_cuda = trainer.accelerator != "cpu" and torch.cuda.is_available()
    is_mps = trainer.accelerator in ("mps", "gpu") and not is_cuda
    if is_mps:
        return "32-true"
    if earlier is not None:
        return "32-true" if earlier == "16-mixed" and not is_cuda else earlier
    if is_cuda:
        is_native = torch.cuda.get_device_capability() >= (8, 0)
    else:
        is_large = sum(p.numel() for p in backbone.parameters()) >= _MIN_WEIGHTS
        is_native = is_large and has_native_bfloat16()
    return "bf16-mixed" if is_native else "32-true"


def resolve_performance(
    settings: Settings, device: torch.device, num_images: int
) -> Settings:
    """A copy of the settings with every ``auto`` resolved to the fastest option.

    Convolutions are fastest with channels last on CPUs and CUDA devices. Compiling
    takes minutes and pays for long runs on a GPU with a compiler.
    """
    trainer, fused = settings.trainer, settings.optimizer.fused
    compile_, layout = trainer.compile, trainer.channels_last
    is_gpu = device.type == "cuda"
    if compile_ == "auto":
        num_steps = trainer.max_steps
        if num_steps < 0:
            num_steps = trainer.max_epochs * (num_images // settings.loader.batch_size)
        is_long = num_steps >= _MIN_STEPS and settings.model.train == "all"
        is_wanted = is_gpu and is_long and not trainer.gather_distributed
        compile_ = "default" if is_wanted and can_compile(device) else "off"
    if layout == "auto":
        layout = "on" if device.type in ("cpu", "cuda") else "off"
    if fused == "auto":
        # With fp16 Lightning unscales the gradients first, which fused SGD does itself.
        fused = "on" if is_gpu and trainer.precision != "16-mixed" else "off"
    return dataclasses.replace(
        settings,
        trainer=dataclasses.replace(trainer, compile=compile_, channels_last=layout),
        optimizer=dataclasses.replace(settings.optimizer, fused=fused),
    )


def can_compile(device: torch.device) -> bool:
    """Whether ``torch.compile`` works here: compiles a sum of two numbers."""
    if device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = torch.compile(torch.add)
            compiled(torch.ones(2, device=device), torch.ones(2, device=device))
    except Exception:  # a compiler can fail in any way
        return False
    return True


def describe_performance(
    settings: Settings, pipeline: str, reason: str, optimizer: str = "SGD"
) -> str:
    """Pipeline and resolved performance options, in one line."""
    trainer = settings.trainer
    if settings.model.train == "nothing":
        return f"pipeline {pipeline} ({reason})"
    layout = "channels_last" if trainer.channels_last == "on" else "channels_first"
    fused = "fused " if settings.optimizer.fused == "on" else ""
    return (
        f"pipeline {pipeline} ({reason}), {trainer.precision}, {layout}, "
        f"compile {trainer.compile}, {fused}{optimizer}"
    )
