"""What the caller passes in, as checked tensors: rows ``(n, d)``, labels ``(n,)``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hadis_lightly.precision import accurate_dtype

# Squares of lengths between these bounds neither vanish nor overflow in float32.
SHORTEST, LONGEST = 1e-12, 1e12


def as_tensor(values: Any, *, name: str) -> Tensor:
    """A detached tensor of real numbers from a tensor, an array or nested lists."""
    if isinstance(values, Tensor):
        if values.is_complex():
            raise TypeError(f"{name} must hold real numbers, got {values.dtype}.")
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must hold real numbers, got a {type(values).__name__} of dtype "
            f"{array.dtype}."
        )
    # torch takes no negative strides, no foreign byte order and no read-only memory.
    native = array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, ["C", "W"]))


def as_rows(values: Any, *, name: str = "X") -> Tensor:
    """The caller's rows ``(n, d)``: float64 stays, all else becomes float32."""
    data = as_tensor(values, name=name)
    if data.ndim != 2 or data.numel() == 0:
        raise ValueError(
            f"{name} must have shape (n, d) with n, d >= 1, got {tuple(data.shape)}."
        )
    # Sums over strided columns round differently: equal rows must give equal results.
    return (data if data.dtype == torch.float64 else data.float()).contiguous()


def as_labels(
    values: Any,
    *,
    name: str,
    least: int = 0,
    n_rows: int | None = None,
    n_clusters: int | None = None,
) -> Tensor:
    """The caller's labels as int64 ``(n,)``: ``n_rows`` in ``[least, n_clusters)``."""
    labels = as_tensor(values, name=name)
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), got {tuple(labels.shape)}.")
    if labels.is_floating_point():
        raise TypeError(f"{name} must hold integers, got {labels.dtype}.")
    labels = labels.long()
    if n_rows is not None and len(labels) != n_rows:
        raise ValueError(
            f"{name} must have one label per row, got {len(labels)} labels and "
            f"{n_rows} rows."
        )
    if len(labels) > 0 and int(labels.min()) < least:
        raise ValueError(f"{name} must be >= {least}, got {int(labels.min())}.")
    if n_clusters is not None and int(labels.max()) >= n_clusters:
        raise ValueError(
            f"{name} must be below the number of clusters, got label "
            f"{int(labels.max())} and {n_clusters} clusters."
        )
    return labels


def to_device(values: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on the device; float64 becomes float32 where there is no float64."""
    device = torch.device(device)
    is_wide = values.dtype == torch.float64
    return values.to(device, accurate_dtype(device) if is_wide else values.dtype)


def check_columns(data: Tensor, n_columns: int, *, name: str) -> None:
    """Raises unless the rows have ``n_columns`` columns."""
    if data.shape[1] != n_columns:
        raise ValueError(
            f"{name} must have {n_columns} columns, got shape {tuple(data.shape)}."
        )


def check_finite(data: Tensor, *, name: str) -> None:
    """Raises if a value is NaN, infinite, or too large for squared distances."""
    # NaN or infinity anywhere reaches the norm: a single fast pass if all is well.
    # Four times the norm leaves room for the square of a sum of rows and centres.
    norm = torch.linalg.vector_norm(data)
    if bool(torch.isfinite((4 * norm).square())):
        return
    check_numbers(data, name=name)
    raise ValueError(
        f"{name} holds values as large as {float(data.abs().max()):.3g}, whose squares "
        f"overflow {data.dtype}: scale it down."
    )


def check_numbers(data: Tensor, *, name: str) -> None:
    """Raises if a value is NaN or infinite."""
    if bool(torch.linalg.vector_norm(data).isfinite()):
        return
    bad = (~data.isfinite()).any(dim=1).nonzero().flatten()
    if len(bad) > 0:
        raise ValueError(
            f"{name} contains NaN or infinite values in {len(bad)} of {len(data)} "
            f"rows; the first is row {int(bad[0])}."
        )


def directions(data: Tensor) -> Tensor:
    """Rows of length one, without a look at the values; rows of zeros stay."""
    # Many times faster than the maximum norm on a CPU.
    largest = torch.maximum(data.amax(1, keepdim=True), -data.amin(1, keepdim=True))
    extreme = (largest > 0) & ((largest < SHORTEST) | (largest > LONGEST))
    rows: Tensor = data / torch.where(extreme, largest, 1.0)
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    rows /= lengths.clamp_min_(SHORTEST)
    return rows


def unit_rows(data: Tensor, *, name: str) -> Tensor:
    """Rows of length one.

    Raises:
        ValueError: If a row has no direction: all zeros, NaN or infinite.
    """
    lengths = torch.linalg.vector_norm(data, dim=1, keepdim=True)
    if bool(((lengths > SHORTEST) & (lengths < LONGEST)).all()):
        rows: Tensor = data / lengths
        return rows
    rows = directions(data)
    has_direction = torch.linalg.vector_norm(rows, dim=1) > 0.5
    bad = (~has_direction).nonzero().flatten()
    if len(bad) > 0:
        raise ValueError(
            f"{name} has {len(bad)} rows without a direction (all zeros, NaN or "
            f"infinite); the first is row {int(bad[0])}."
        )
    return rows


def column_means(data: Tensor) -> Tensor:
    """Mean of the rows ``(d,)``, from which squared distances lose least to rounding.

    Raises:
        ValueError: If the rows differ by so little that squared distances vanish.
    """
    least, most = data.amin(0), data.amax(0)
    # The mean of a constant column is exactly its value, whatever sums round to.
    means = data.mean(0).clamp(least, most)
    reach = float(torch.maximum(most - means, means - least).amax())
    if 0 < reach < 1e4 * torch.finfo(data.dtype).tiny ** 0.5:
        raise ValueError(
            f"X varies by no more than {reach:.3g}, whose square vanishes in "
            f"{data.dtype}: scale it up."
        )
    return means
