"""Losses are computed in float32 at least: half precision would round them away."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor itself in float32 and float64, else in float32."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
