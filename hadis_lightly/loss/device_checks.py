"""Checks of values that may lie on an accelerator, which must not be waited for."""

from __future__ import annotations

import torch
from torch import Tensor


def check_values(values: Tensor, holds: Tensor, message: str) -> None:
    """Raises unless a condition holds of all values.

    Args:
        values: What the caller gave.
        holds: Whether each value is right, bool of any shape.
        message: What must hold of them, beginning with the argument's name.

    Raises:
        ValueError: With the message and the range of the values. On an accelerator,
            and when compiled, the condition is asserted there, without waiting.
    """
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        # NOTE: A comparison here on the host would stall the device at every step.
        torch._assert_async(holds.all(), message)
        return
    try:
        torch._assert_async(holds.all(), message)
    except RuntimeError:
        low, high = values.min().item(), values.max().item()
        raise ValueError(f"{message}, got values from {low} to {high}.") from None
