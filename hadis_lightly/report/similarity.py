"""Which clusters are alike: the cosines of their prototypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from hadis_lightly.report.report_data import FloatArray

#: More clusters make a matrix that nobody can read.
MAX_MATRIX_SIDE = 100
_NUM_PAIRS, _NUM_PAIRS_ALONE = 8, 60


def similarity(prototypes: FloatArray) -> dict[str, Any]:
    """Matrix of the cosines, similar clusters side by side, and the closest pairs.

    Args:
        prototypes: L2-normalised, ``(k, d)``.

    Returns:
        ``order`` (clusters) and ``matrix`` (in that order), both None for more than
        :data:`MAX_MATRIX_SIDE` clusters; ``pairs``: cluster, cluster, cosine, the
        most similar first.

    Example:
        >>> result = similarity(np.array([[1.0, 0], [0, 1], [0.8, 0.6]]))
        >>> [pair[:2] for pair in result["pairs"]]
        [[0, 2], [1, 2], [0, 1]]
    """
    k = len(prototypes)
    cosines = np.clip(prototypes @ prototypes.T, -1, 1).astype(np.float64)
    has_matrix = k <= MAX_MATRIX_SIDE
    first, second = np.triu_indices(k, 1)
    values = cosines[first, second]
    closest = np.argsort(-values, kind="stable")
    closest = closest[: _NUM_PAIRS if has_matrix else _NUM_PAIRS_ALONE]
    pairs = [
        [int(first[at]), int(second[at]), round(float(values[at]), 4)] for at in closest
    ]
    if not has_matrix:
        return {"order": None, "matrix": None, "pairs": pairs}
    order = _similar_side_by_side(cosines)
    matrix = cosines[np.ix_(order, order)].round(3).tolist()
    return {"order": order.tolist(), "matrix": matrix, "pairs": pairs}


def _similar_side_by_side(cosines: FloatArray) -> npt.NDArray[np.int64]:
    """Order of the clusters in which similar ones are neighbours, ``(k,)``."""
    if len(cosines) < 3:
        return np.arange(len(cosines))
    apart = np.clip(1 - (cosines + cosines.T) / 2, 0, None)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart), method="average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), dtype=np.int64)
