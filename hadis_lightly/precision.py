"""Floating point precision: bfloat16 on CPUs, full and at least float32."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# PyTorch and Linux use the same names: of x86-64, and the last of Arm.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


def cpu_features() -> set[str]:
    """Instruction sets of this CPU, as PyTorch or Linux names them."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # torch >= 2.10
    if capabilities is not None:
        return {name for name, value in capabilities().items() if value is True}
    with contextlib.suppress(OSError):
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    return set()


def has_native_bfloat16(features: Iterable[str] | None = None) -> bool:
    """Whether a CPU multiplies bfloat16 numbers itself; others emulate it, slowly.

    Args:
        features: Its instruction sets; by default those of this CPU, which count only
            where PyTorch has oneDNN to use them.
    """
    if features is None:
        has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if sys.platform == "darwin" or not has_onednn:
            return False
        features = cpu_features()
    return not _BFLOAT16.isdisjoint(features)


def accurate_dtype(device: torch.device) -> torch.dtype:
    """Widest floating dtype of the device: Apple's MPS has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """No gradients, no autocast, and float32 products that are really float32."""
    # Lightning users often lower it for training: "medium" means bfloat16.
    backends: tuple[Any, ...] = ()
    modern = hasattr(torch.backends.cuda.matmul, "fp32_precision")  # torch >= 2.9
    if modern:
        backends = (
            torch.backends.cuda.matmul,
            torch.backends.mkldnn.matmul,  # type: ignore[attr-defined]
        )
        before = [backend.fp32_precision for backend in backends]
        for backend in backends:
            backend.fp32_precision = "ieee"
    else:
        legacy = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            for device in ("cpu", "cuda", "mps"):
                stack.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        if modern:
            for backend, precision in zip(backends, before, strict=True):
                backend.fp32_precision = precision
        else:
            torch.set_float32_matmul_precision(legacy)


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor itself in float32 and float64, else in float32."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
