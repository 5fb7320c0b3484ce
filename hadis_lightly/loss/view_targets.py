"""What the student's views learn from, where an image has more than two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hadis_lightly.loss.inputs import unit_rows


def mean_of_others(teachers: Sequence[Tensor], n_views: int) -> list[Tensor]:
    """For each view the mean of the teacher's embeddings of the other views.

    As in FastSiam [0]: a target that varies less than a single view's. Embeddings are
    normalised before the mean is taken, which is not normalised again.

    Args:
        teachers: Embeddings ``(n, d)`` of the first views, at least two.
        n_views: Number of the student's views, at least as many. Those that the teacher
            has not seen have the mean over all.

    Returns:
        A target ``(n, d)`` for each of the student's views.

    Raises:
        ValueError: If there are fewer than two embeddings, or fewer views.

    Example:
        >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
        >>> [target.tolist() for target in mean_of_others([a, b], 3)]
        [[[0.0, 1.0]], [[1.0, 0.0]], [[0.5, 0.5]]]

    - [0]: FastSiam, 2022, https://link.springer.com/chapter/10.1007/978-3-031-16788-1_4
    """
    n_seen = len(teachers)
    if not 2 <= n_seen <= n_views:
        raise ValueError(
            "teachers must be embeddings of at least 2 and at most n_views="
            f"{n_views} views, got {n_seen}."
        )
    unit = torch.stack([unit_rows(teacher) for teacher in teachers])
    total = unit.sum(dim=0)
    others = [(total - seen) / (n_seen - 1) for seen in unit]
    return others + [total / n_seen] * (n_views - n_seen)
