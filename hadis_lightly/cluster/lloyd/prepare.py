"""What comes in: checks of arrays and settings, and the rows that k-means sees."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

METRICS = ("cosine", "euclidean")


def as_tensor(values: Any, *, name: str) -> Tensor:
    """A detached tensor of what the caller gave: tensor, array or nested list."""
    if isinstance(values, Tensor):
        if values.layout != torch.strided:
            raise TypeError(f"{name} must be dense, got layout {values.layout}")
        return values.detach()
    try:
        array = np.asarray(values)
    except ValueError as reason:
        raise ValueError(
            f"{name} must be an array or tensor, got a {type(values).__name__} whose "
            f"rows do not fit each other"
        ) from reason
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must hold numbers, got a {type(values).__name__} of dtype "
            f"{array.dtype}"
        )
    # Torch takes neither read-only memory (with a warning), nor negative strides,
    # nor fields of records, nor foreign byte order, nor long doubles.
    usable = array.flags.writeable and all(
        stride >= 0 and stride % array.itemsize == 0 for stride in array.strides
    )
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
    # Sums of strided columns round otherwise: equal rows shall have equal results.
    return (data if data.dtype == torch.float64 else data.float()).contiguous()


def check_columns(data: Tensor, n_columns: int, *, name: str) -> None:
    """Raise unless rows have as many columns as those of the fit."""
    if data.shape[1] != n_columns:
        raise ValueError(
            f"{name} must have the {n_columns} columns of the fit, got shape "
            f"{tuple(data.shape)}"
        )


def check_integer(name: str, value: Any, *, least: int) -> None:
    """Raise unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")


def as_integers(values: Any, *, name: str, least: int) -> Tensor:
    """The caller's labels as int64 ``(n,)``, none below ``least``."""
    tensor = as_tensor(values, name=name)
    if tensor.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), got {tuple(tensor.shape)}")
    if tensor.is_floating_point() or tensor.is_complex():
        raise TypeError(f"{name} must hold integers, got dtype {tensor.dtype}")
    if tensor.dtype == torch.uint64 and len(tensor) > 0:
        most = max(tensor.tolist())
        if most >= 2**63:
            raise ValueError(f"{name} must be < 2**63, got {most}")
    tensor = tensor.long()
    if len(tensor) > 0 and int(tensor.min()) < least:
        raise ValueError(f"{name} must be >= {least}, got {int(tensor.min())}")
    return tensor


def check_labels(labels: Tensor, n: int, n_clusters: int, *, name: str) -> None:
    """Raise unless there are ``n`` labels, all below ``n_clusters``."""
    if len(labels) != n:
        raise ValueError(
            f"{name} must have one label per row, got {len(labels)} labels and {n} rows"
        )
    if int(labels.max()) >= n_clusters:
        raise ValueError(
            f"{name} must be below the number of clusters, got label "
            f"{int(labels.max())} and {n_clusters} clusters"
        )


def check_seed(name: str, value: Any, *, least: int = -(2**63)) -> None:
    """Raise unless ``value`` is an int that torch takes as a seed."""
    check_integer(name, value, least=least)
    if value >= 2**64:
        raise ValueError(f"{name} must be < 2**64, got {value}")


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
        check_seed("random_state", random_state)
        # On the CPU whatever the device of the data, for the same draws everywhere.
        return torch.Generator().manual_seed(int(random_state))
    raise TypeError(
        f"random_state must be None, an int or a torch.Generator, got {random_state!r}"
    )


# Exponents between which squares and their sums are far from both ends of float32.
SAFE_EXPONENT = 16


def power_of_two(largest: float, dtype: torch.dtype) -> float:
    """Factor that brings values as large as ``largest`` near 1, without rounding."""
    exponent = math.frexp(largest)[1]
    if largest == 0 or abs(exponent) <= SAFE_EXPONENT:
        return 1.0
    most = 1000 if dtype == torch.float64 else 120
    return 2.0 ** max(-most, min(most, -exponent))


def largest_magnitude(data: Tensor) -> float:
    """The largest absolute value."""
    least, most = torch.aminmax(data)
    return float(torch.maximum(-least, most))


def directions(data: Tensor) -> Tensor:
    """Rows of length one without a look at their values; rows of zero stay."""
    largest = data.abs().amax(dim=1, keepdim=True)
    # Only values whose squares might vanish or overflow are brought near 1.
    extreme = (largest > 0) & ((largest < 1e-12) | (largest > 1e12))
    return F.normalize(data / torch.where(extreme, largest, 1.0), dim=1)


def unit_rows(data: Tensor, *, name: str) -> Tensor:
    """Rows of length one, however small they are.

    Raises:
        ValueError: if a row is zero.
    """
    lengths = torch.linalg.vector_norm(data, dim=1, keepdim=True)
    rows: Tensor = data / lengths
    # Squares of values this small vanish, or lose digits.
    small = lengths.flatten() < torch.finfo(data.dtype).tiny ** 0.5 * 1e4
    if bool(small.any()):
        part = data[small]
        largest = part.abs().amax(1, keepdim=True)
        zero = small.nonzero().flatten()[(largest == 0).flatten()]
        if len(zero) > 0:
            raise ValueError(
                f"{name} has {len(zero)} rows of zero length, the first is row "
                f"{int(zero[0])}: they have no direction, as metric='cosine' needs"
            )
        part = part / largest
        rows[small] = part / torch.linalg.vector_norm(part, dim=1, keepdim=True)
    return rows


@dataclass(frozen=True)
class Frame:
    """How rows come from the caller to k-means and centres come back.

    Cosine takes rows to length one and leaves centres as they are. Euclidean takes both
    away from an offset, since distances between centred rows lose least to rounding,
    and scales by a power of two, so that no square overflows or vanishes.

    Attributes:
        offset: Mean of the rows of the fit, ``(d,)``; None for cosine.
        scale: Power of two; 1 for cosine, and wherever values are not extreme.
    """

    offset: Tensor | None = None
    scale: float = 1.0

    @classmethod
    def of(cls, data: Tensor, *, metric: str) -> Frame:
        """The frame in which the caller's rows ``(n, d)`` are clustered."""
        if metric == "cosine":
            return cls()
        least, most = data.amin(0), data.amax(0)
        # A constant column has exactly its value as offset, whatever sums round to.
        offset = data.mean(0).clamp(least, most)
        reach = float(torch.maximum(most - offset, offset - least).amax())
        return cls(offset, power_of_two(reach, data.dtype))

    def same(self, from_first: Callable[[Tensor], Tensor]) -> Frame:
        """The frame of the first process, in all processes."""
        if self.offset is None:
            return self
        scale = from_first(self.offset.new_full((1,), self.scale))
        return Frame(from_first(self.offset), float(scale))

    def to(self, data: Tensor) -> Frame:
        """The frame on the device of ``data``, in its dtype."""
        if self.offset is None:
            return self
        return replace(self, offset=self.offset.to(data))

    def prepare(self, data: Tensor, *, name: str) -> Tensor:
        """Rows ``(n, d)`` of the caller as k-means sees them.

        Raises:
            ValueError: if a row has no direction under ``"cosine"``, or lies so far
                away from the rows of the fit that its square overflows.
        """
        if self.offset is None:
            return unit_rows(data, name=name)
        rows = self.inside(data)
        # Room for products and sums of squares of what passes.
        limit = torch.finfo(rows.dtype).max ** 0.5 / 2**10
        if not bool(torch.linalg.vector_norm(rows, dim=1).amax() < limit):
            raise ValueError(
                f"{name} holds values as large as {largest_magnitude(data):.3g}, too "
                f"far from the rows of the fit to be compared with them in "
                f"{rows.dtype}: their distances from the mean are near "
                f"{1 / self.scale:.3g}"
            )
        return rows

    def inside(self, centers: Tensor) -> Tensor:
        """Centres ``(k, d)`` as k-means sees them."""
        if self.offset is None:
            return centers
        moved = centers - self.offset
        return moved if self.scale == 1 else moved * self.scale

    def outside(self, centers: Tensor) -> Tensor:
        """Centres ``(k, d)`` as the caller sees them; a copy."""
        if self.offset is None:
            return centers.clone()
        return centers / self.scale + self.offset

    def noise(self, rows: Tensor) -> float:
        """Distance from a prepared row that a centre may have for rounding alone."""
        size = float(torch.linalg.vector_norm(rows, dim=1).amax())
        if self.offset is not None:
            size += float(torch.linalg.vector_norm(self.offset)) * self.scale
        return 4 * torch.finfo(rows.dtype).eps * size
