"""What the losses do to their inputs first: check, gather, scale to length 1."""

from __future__ import annotations

import torch
from lightly.utils import dist as lightly_dist
from torch import Tensor
from torch import distributed as torch_dist

from hadis_lightly.checks import check_bool, check_number
from hadis_lightly.precision import at_least_float32

#: A row shorter than this has no direction, as in ``torch.nn.functional.normalize``.
_SHORTEST = 1e-12


def unit_rows(x: Tensor) -> Tensor:
    """Rows of length 1, in float32 where the input is of lower precision.

    Half precision would round the distances between close embeddings to 0. Rows
    without a direction stay as they are, so that their gradient is not 1e12 times
    larger, as that of ``torch.nn.functional.normalize`` is.

    Shape: ``(n, d)`` to ``(n, d)``.
    """
    x = at_least_float32(x)
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / lengths.where(lengths > _SHORTEST, 1)


def gather_batch(x: Tensor) -> Tensor:
    """The batches of all processes as one, in the order of their ranks."""
    if lightly_dist.world_size() == 1:
        return x
    return torch.cat(lightly_dist.gather(x.contiguous()))


def check_temperature(name: str, temperature: float) -> float:
    """Returns the temperature if it is a number above 0, else raises."""
    check_number(name, temperature, 0, above=True)
    return temperature


def check_gather_distributed(gather_distributed: bool) -> bool:
    """Returns the flag if it is one and this PyTorch can gather, else raises."""
    check_bool("gather_distributed", gather_distributed)
    if gather_distributed and not torch_dist.is_available():
        raise ValueError(
            "gather_distributed is True, but torch.distributed is not available in "
            "this build of PyTorch. Set gather_distributed=False."
        )
    return gather_distributed


def check_tensors(shape: str, **tensors: Tensor) -> None:
    """Checks that all tensors are floating point and of one shape.

    Args:
        shape: The shape as the message names it, such as ``"(n, d)"``.
        **tensors: The tensors, by the caller's argument names.

    Raises:
        TypeError: If one is not a floating point tensor, or only some are float64.
        ValueError: If the number of dimensions is wrong, one is 0, or shapes or
            devices differ.
    """
    (first_name, first), *_ = tensors.items()
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = getattr(x, "dtype", type(x).__name__)
            raise TypeError(f"{name} must be a floating point tensor, got {kind}.")
        size = tuple(x.shape)
        if x.ndim != shape.count(",") + 1 or 0 in size:
            raise ValueError(f"{name} must have shape {shape}, got {size}.")
        if x.shape != first.shape:
            raise ValueError(
                f"{name} has shape {size}, but {first_name} has {tuple(first.shape)}."
            )
        if x.device != first.device:
            raise ValueError(
                f"{name} is on {x.device}, but {first_name} on {first.device}."
            )
        if (x.dtype == torch.float64) != (first.dtype == torch.float64):
            raise TypeError(
                f"{name} is {x.dtype}, but {first_name} is {first.dtype}: "
                "float64 goes with float64 only."
            )


def check_labels(
    labels: Tensor, rows: Tensor, n_clusters: int, name: str = "labels", least: int = 0
) -> Tensor:
    """Checks that labels are integers below ``n_clusters``, one for each row.

    Args:
        labels: The labels.
        rows: What they belong to, ``(n, ...)``.
        n_clusters: Number of clusters.
        name: The caller's argument name.
        least: -1 if images may have no label, else 0.

    Returns:
        The labels, as int64.

    Raises:
        TypeError: If the labels are not an integer tensor.
        ValueError: If they are not ``(n,)`` or on another device, or one is out of
            range. On an accelerator the range is asserted there, without waiting.
    """
    is_integer = isinstance(labels, Tensor) and not (
        labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
    )
    if not is_integer:
        kind = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"{name} must be an integer tensor, got {kind}.")
    check_one_per_row(name, labels, rows)
    labels = labels.long()
    limits = f"[0, {n_clusters})" + (" or be -1" if least < 0 else "")
    holds = (labels >= least) & (labels < n_clusters)
    check_values(labels, holds, f"{name} must lie in {limits}")
    return labels


def check_one_per_row(name: str, values: Tensor, rows: Tensor) -> None:
    """Raises unless there is one value for each row, on the same device."""
    shape, n = tuple(values.shape), len(rows)
    if shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {shape}.")
    if values.device != rows.device:
        raise ValueError(
            f"{name} is on {values.device}, but the other inputs on {rows.device}."
        )


def check_values(values: Tensor, holds: Tensor, message: str) -> None:
    """Raises unless a condition holds for all values.

    Args:
        values: What the caller gave.
        holds: Whether each value is right, bool of any shape.
        message: What must hold, beginning with the argument's name.

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
