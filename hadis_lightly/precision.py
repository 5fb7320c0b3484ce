"""Floating point precision: full float32 products, and float32 at least."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


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
