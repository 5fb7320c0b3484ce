"""What comes in: checks of arrays and settings, and the rows that k-means sees."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd import accurate_dtype

METRICS = ("cosine", "euclidean")


def as_tensor(values: Any, *, name: str) -> Tensor:
    """A detached tensor of what the caller gave: tensor, array or nested list."""
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must hold numbers, got a {type(values).__name__} of dtype "
            f"{array.dtype}"
        )
    # Torch takes neither read-only memory (with a warning), nor negative strides,
    # nor foreign byte order, nor long doubles.
    usable = array.flags.writeable and min(array.strides, default=0) >= 0
    native = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.float64
    return torch.from_numpy(array.astype(native, copy=not usable))


def as_rows(values: Any, *, name: str = "X") -> Tensor:
    """The caller's rows ``(n, d)``: float64 stays, all else becomes float32."""
    data = as_tensor(values, name=name)
    if data.is_complex():
        raise TypeError(f"{name} must be real, got dtype {data.dtype}")
    if data.ndim != 2 or data.shape[0] == 0 or data.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape (n, d) with n, d >= 1, got {tuple(data.shape)}"
        )
    return data if data.dtype == torch.float64 else data.float()


def check_integer(name: str, value: Any, *, least: int) -> None:
    """Raise unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")


def check_finite(data: Tensor, *, name: str) -> None:
    """Raise if a value is NaN, infinite, or too large for its square."""
    # A NaN or an infinity anywhere reaches the norm: one fast pass if all is well.
    if bool(torch.isfinite(torch.linalg.vector_norm(data))):
        return
    for what, found in (("NaN", data.isnan()), ("infinite values", data.isinf())):
        rows = found.any(1).nonzero().flatten()
        if len(rows) > 0:
            raise ValueError(
                f"{name} contains {what} in {len(rows)} of {len(data)} rows, the "
                f"first is row {int(rows[0])}"
            )
    raise ValueError(
        f"{name} holds values as large as {float(data.abs().max()):.3g}, whose squares "
        f"overflow {data.dtype}: scale it down"
    )


def as_generator(random_state: Any) -> torch.Generator | None:
    """The generator that ``random_state`` stands for; None is torch's global one."""
    if random_state is None or isinstance(random_state, torch.Generator):
        return random_state
    if isinstance(random_state, numbers.Integral) and not isinstance(
        random_state, bool
    ):
        # On the CPU whatever the device of the data, for the same draws everywhere.
        return torch.Generator().manual_seed(int(random_state))
    raise TypeError(
        f"random_state must be None, an int or a torch.Generator, got {random_state!r}"
    )


def prepare(data: Tensor, *, metric: str, offset: Tensor | None, name: str) -> Tensor:
    """Rows as the algorithm sees them: of length one (cosine), or less ``offset``.

    Raises:
        ValueError: if a row has no direction under ``"cosine"``.
    """
    if metric == "euclidean":
        return data if offset is None else data - offset
    lengths = torch.linalg.vector_norm(data, dim=1, keepdim=True)
    small = lengths.flatten() < torch.finfo(data.dtype).tiny ** 0.5 * 1e4
    if bool(small.any()):
        # Their squares vanish in float32; in float64 they do not.
        lengths[small] = torch.linalg.vector_norm(
            data[small], dim=1, keepdim=True, dtype=accurate_dtype(data.device)
        ).to(data.dtype)
    zero = (lengths == 0).flatten().nonzero().flatten()
    if len(zero) > 0:
        raise ValueError(
            f"{name} has {len(zero)} rows of zero length, the first is row "
            f"{int(zero[0])}: they have no direction, as metric='cosine' needs"
        )
    rows: Tensor = data / lengths
    return rows
