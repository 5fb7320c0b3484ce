"""Checks of modules and images, and of the optional package timm."""

from __future__ import annotations

import importlib.util

from torch import Tensor, nn


def check_module(name: str, module: object) -> None:
    """Raises a ``TypeError`` unless ``module`` is a module of PyTorch."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {module!r}.")


def check_images(x: object) -> None:
    """Raises unless ``x`` is a floating point tensor of at least two dimensions."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x must be a floating point tensor of images, got {kind}.")
    if x.ndim < 2:
        raise ValueError(f"x must be a batch (n, c, h, w), got {tuple(x.shape)}.")


def has_timm() -> bool:
    """Whether timm is installed."""
    return importlib.util.find_spec("timm") is not None


def check_timm(what: str) -> None:
    """Raises a ``ValueError`` unless timm is installed, which ``what`` needs."""
    if not has_timm():
        raise ValueError(f"{what} needs timm, which is not installed: pip install timm")
