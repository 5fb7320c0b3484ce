"""Exact nearest neighbours by cosine, without a matrix of all pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.precision import full_precision


def nearest_neighbours(
    features: Tensor,
    n_neighbours: int,
    *,
    block_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The nearest neighbours of each image by cosine, the nearest first.

    An image is not its own neighbour, but a duplicate of it is. Of equal cosines the
    lower index comes first. Computed in float32 on the device of the features, in
    blocks: beside a copy of the features it takes ``4 * block_size * n`` bytes.

    Args:
        features: Floating point ``(n, d)``; need not be normalised.
        n_neighbours: Number of neighbours k, from 1 to ``n - 1``.
        block_size: Images at a time.
        progress: Called with the number of images done and of all.

    Returns:
        Indices, int64 ``(n, k)``.

    Raises:
        ValueError: If features are not finite or ``(n, d)``, or a number out of range.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1]])
        >>> nearest_neighbours(features, 1).tolist()
        [[2], [2], [0]]
    """
    if features.ndim != 2:
        raise ValueError(f"features must be (n, d), got {tuple(features.shape)}.")
    check_integer("n_neighbours", n_neighbours, least=1)
    check_integer("block_size", block_size, least=1)
    n, k = len(features), n_neighbours
    if k >= n:
        raise ValueError(f"n_neighbours must be below the {n} images, got {k}.")
    unit = F.normalize(features.float(), dim=1)
    if not unit.sum().isfinite():
        raise ValueError("features must be finite, got infinity or NaN.")
    blocks = []
    with full_precision():
        for start in range(0, n, block_size):
            block = unit[start : start + block_size]
            cosines = block @ unit.T  # (b, n)
            cosines.diagonal(start).fill_(-torch.inf)  # the images themselves
            blocks.append(_largest(cosines, k))
            if progress is not None:
                progress(start + len(block), n)
    return torch.cat(blocks)


def reciprocal_neighbours(neighbours: Tensor) -> Tensor:
    """Neighbours that have the image among theirs; others give way to the image itself.

    Of an image in the middle of many, few neighbours are left out; of one at the edge,
    whose neighbours are nearer to others, most.

    Args:
        neighbours: Of :func:`nearest_neighbours`, int64 ``(n, k)``.

    Returns:
        Indices, int64 ``(n, k)``.

    Raises:
        ValueError: If they are not such indices.

    Example:
        >>> reciprocal_neighbours(torch.tensor([[2], [2], [0]])).tolist()
        [[2], [1], [0]]
    """
    check_neighbours(neighbours, len(neighbours))
    own = torch.arange(len(neighbours), device=neighbours.device).unsqueeze(1)
    columns = []
    for theirs in neighbours.unbind(1):  # the c-th neighbour of every image, (n,)
        is_mutual = (neighbours[theirs] == own).any(dim=1, keepdim=True)
        columns.append(torch.where(is_mutual, theirs.unsqueeze(1), own))
    return torch.cat(columns, dim=1)


def check_neighbours(neighbours: Tensor, n: int) -> None:
    """Raises a ValueError unless these are neighbours of ``n`` images, ``(n, k)``."""
    kind = getattr(neighbours, "dtype", type(neighbours).__name__)
    if kind != torch.int64 or neighbours.ndim != 2 or len(neighbours) != n:
        found = tuple(getattr(neighbours, "shape", ()))
        raise ValueError(
            f"neighbours must be an int64 tensor ({n}, k), got {kind} {found}."
        )
    if neighbours.numel() and not 0 <= neighbours.min() <= neighbours.max() < n:
        raise ValueError(f"neighbours must be indices of the {n} images.")


def _largest(values: Tensor, k: int) -> Tensor:
    """Columns of the k largest values of each row; of equal ones the first."""
    largest, columns = values.topk(k + 1, dim=1)
    is_tied = largest[:, k - 1] == largest[:, k]  # topk takes any of them
    columns = columns[:, :k].sort(dim=1).values
    largest = values.gather(1, columns)
    order = largest.argsort(dim=1, descending=True, stable=True)
    columns = columns.gather(1, order)
    if is_tied.any():
        order = values[is_tied].argsort(dim=1, descending=True, stable=True)
        columns[is_tied] = order[:, :k]
    return columns
