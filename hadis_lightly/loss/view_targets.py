"""What the student's views learn from, where an image has more than two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hadis_lightly.loss.inputs import unit_rows


def each_of_others(
    teachers: Sequence[Tensor], n_views: int
) -> list[tuple[int, Tensor]]:
    """All ordered pairs of a view of the student and another view of the teacher.

    Args:
        teachers: Embeddings ``(n, d)`` of the first views.
        n_views: Number of the student's views, at least as many.

    Returns:
        Indices of the student's views, each with one target ``(n, d)``.
    """
    indices = range(n_views)
    return [(i, t) for i in indices for j, t in enumerate(teachers) if i != j]


def mean_of_others(
    teachers: Sequence[Tensor], n_views: int
) -> list[tuple[int, Tensor]]:
    """Each view of the student with the mean of the teacher's embeddings of the others.

    As in FastSiam [0]: a target that varies less than a single view's. Embeddings are
    normalised before the mean is taken, which is not normalised again.

    Args:
        teachers: Embeddings ``(n, d)`` of the first views, at least two.
        n_views: Number of the student's views, at least as many. Those that the teacher
            has not seen have the mean over all.

    Returns:
        Indices of the student's views, each with its target ``(n, d)``.

    Example:
        >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
        >>> [(i, target.tolist()) for i, target in mean_of_others([a, b], 3)]
        [(0, [[0.0, 1.0]]), (1, [[1.0, 0.0]]), (2, [[0.5, 0.5]])]

    - [0]: FastSiam, 2022, https://link.springer.com/chapter/10.1007/978-3-031-16788-1_4
    """
    unit = torch.stack([unit_rows(teacher) for teacher in teachers])
    total, n_seen = unit.sum(dim=0), len(unit)
    others = [(total - seen) / (n_seen - 1) for seen in unit]
    return list(enumerate(others + [total / n_seen] * (n_views - n_seen)))


#: Ways to combine views, by name.
VIEW_TARGETS = {"each": each_of_others, "mean": mean_of_others}
