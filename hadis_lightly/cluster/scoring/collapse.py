"""Signs that embeddings or clusters have collapsed."""

from __future__ import annotations

import torch
from torch import Tensor

from hadis_lightly.cluster.lloyd.assign import chunks
from hadis_lightly.precision import full_precision

# Below this spread all embeddings are one point, for practical purposes.
MIN_SPREAD = 0.05
# Above this cosine two prototypes are one.
MAX_COSINE = 0.99
# A cluster with more than this share of the images, and twice a fair share, dominates.
MAX_SHARE = 0.5


@full_precision()
def collapse_signs(
    embeddings: Tensor, labels: Tensor, prototypes: Tensor
) -> dict[str, str]:
    r"""Signs that a clustering has collapsed, whatever the classes may be.

    - ``spread``: the embeddings are nearly one point: their mean squared distance from
      their mean, :math:`1 - |\bar{x}|^2` in [0, 1], is small.
    - ``share``: one cluster holds most of the set.
    - ``prototypes``: two prototypes coincide; which of them an image gets is chance.
    - ``empty``: clusters without an image.

    Args:
        embeddings: L2-normalised, ``(n, d)``.
        labels: Cluster of each, ``(n,)``.
        prototypes: L2-normalised, ``(k, d)``.

    Returns:
        A sentence for each sign seen, by its name; empty if all is well.

    Example:
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> labels = torch.tensor([0, 0, 1])
        >>> collapse_signs(embeddings, labels, torch.eye(2))
        {}
        >>> collapse_signs(embeddings[:2], labels[:2], torch.eye(2))["spread"]
        'the embeddings have collapsed to a point (spread 0.000)'
    """
    n, k = len(embeddings), len(prototypes)
    signs: dict[str, str] = {}
    spread = 1 - float(embeddings.mean(dim=0).square().sum())
    if spread < MIN_SPREAD:
        signs["spread"] = (
            f"the embeddings have collapsed to a point (spread {max(spread, 0):.3f})"
        )
    counts = torch.bincount(labels, minlength=k)
    largest = int(counts.argmax())
    share = int(counts[largest]) / n
    if share > max(MAX_SHARE, min(2 / k, 0.9)):
        signs["share"] = f"cluster {largest} holds {share:.0%} of the images"
    empty = int((counts == 0).sum())
    if empty:
        signs["empty"] = f"{empty} of {k} clusters are empty"
    highest, first, second = _closest_pair(prototypes)
    if highest > MAX_COSINE and "spread" not in signs:
        signs["prototypes"] = (
            f"prototypes {first} and {second} coincide (cosine {highest:.3f})"
        )
    return signs


def _closest_pair(prototypes: Tensor) -> tuple[float, int, int]:
    """Largest cosine of two prototypes, and which they are."""
    k = len(prototypes)
    best = (-torch.inf, 0, 0)
    for part in chunks(k, k):
        cosines = prototypes[part] @ prototypes.T
        cosines.diagonal(part.start).fill_(-1)
        row, column = divmod(int(cosines.argmax()), k)
        found = (float(cosines[row, column]), part.start + row, column)
        best = max(best, found, key=lambda pair: pair[0])  # the first of equals
    return best
