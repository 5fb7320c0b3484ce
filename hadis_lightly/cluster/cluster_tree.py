"""A tree over the clusters: which of them join, and how each would split."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.cluster.kmeans import KMeans
from hadis_lightly.cluster.lloyd.arrays import as_rows, check_columns, directions
from hadis_lightly.cluster.lloyd.assign import chunks
from hadis_lightly.cluster.partition import Partition

_NUM_NEIGHBOURS = 10
# Links are of this many images at most: a second on a CPU, and what more would add
# to the mean of a pair of clusters is little.
_MAX_IMAGES = 10_000
# Of pairs without links the one with the higher cosine joins first.
_TIE_BREAK = 1e-6


@dataclass(frozen=True)
class ClusterTree:
    """Merges of the k clusters of a run up to one, and a split of each in two.

    Levels are nested, and numbered from 1, the coarsest. The last level but one has the
    clusters of the run. Each level above has half as many, rounded down, as far as 2 or
    3; its clusters are numbered in the order of their smallest member. The last level
    has the two halves of each cluster c, numbered 2 c and 2 c + 1.
    """

    merges: Tensor
    """What joins, the closest first, ``(k - 1, 2)``: below k a cluster, and k + i what
    merge i has made."""
    links: Tensor
    """Links between the two that join, ``(k - 1,)``: the number of nearest neighbours
    that the images of one have in the other, as a multiple of what it would be if
    neighbours were drawn at random. Decreasing."""
    splits: Tensor
    """From the first to the second half of each cluster, ``(k, d)``: an embedding that
    has a positive product with it is in the second."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Number of clusters at each level, the coarsest first; the last is 2 k.

        A cluster of one image, or of equal ones, has no second half.
        """
        k = len(self.splits)
        counts = [2 * k, k]
        while counts[-1] >= 4:
            counts.append(counts[-1] // 2)
        return tuple(reversed(counts))

    def groups(self, n_groups: int) -> Tensor:
        """Group of each cluster, ``(k,)``, once only so many groups are left.

        Groups are numbered in the order of their smallest member.

        Raises:
            ValueError: If ``n_groups`` is not from 1 to k.
        """
        k = len(self.splits)
        check_integer("n_groups", n_groups, least=1)
        if n_groups > k:
            raise ValueError(f"n_groups must be at most the {k} clusters.")
        members = {i: [i] for i in range(k)}
        for i, (first, second) in enumerate(self.merges[: k - n_groups].tolist()):
            members[k + i] = members.pop(first) + members.pop(second)
        groups = torch.empty(k, dtype=torch.long)
        for group, clusters in enumerate(sorted(members.values(), key=min)):
            groups[clusters] = group
        return groups

    def assign(self, labels: Tensor, embeddings: Tensor, level: int) -> Tensor:
        """Cluster of each image at a level, ``(n,)``.

        Args:
            labels: Clusters of the run, ``(n,)``.
            embeddings: ``(n, d)``, on the same device.
            level: From 1 to the number of :attr:`levels`.

        Raises:
            ValueError: If there is no such level.
        """
        self.check_level(level)
        if level < len(self.levels):
            return self.groups(self.levels[level - 1]).to(labels.device)[labels]
        check_columns(embeddings, self.splits.shape[1], name="embeddings")
        splits = self.splits.to(embeddings)
        found = 2 * labels
        for part in chunks(len(labels), splits.shape[1]):
            products = embeddings[part] * splits[labels[part]]
            found[part] += products.sum(dim=1) > 0
        return found

    def check_level(self, level: int) -> None:
        """Raises ValueError, which names the levels there are, unless this is one."""
        if not 1 <= level <= len(self.levels):
            known = (f"{i} ({n} clusters)" for i, n in enumerate(self.levels, 1))
            raise ValueError(f"level must be one of {', '.join(known)}, got {level}.")

    def describe(self) -> dict[str, list[Any]]:
        """Levels, merges and links as plain lists, for JSON."""
        return {
            "levels": list(self.levels),
            "merges": self.merges.tolist(),
            "links": [round(value, 4) for value in self.links.tolist()],
        }

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors, for a checkpoint."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor]) -> ClusterTree:
        """The tree that :meth:`state_dict` was called on."""
        return cls(**state)


def fit_tree(
    partition: Partition,
    embeddings: Tensor | npt.ArrayLike,
    *,
    random_state: int = 0,
) -> ClusterTree:
    """The tree over the clusters of some embeddings.

    Upwards, the two groups join whose clusters have most links on average: links are
    the 10 nearest neighbours of each of up to 10,000 images. Downwards, k-means finds
    two halves in each cluster, by the cosine.

    Args:
        partition: At least two clusters of these embeddings.
        embeddings: ``(n, d)``, in the order of ``partition.labels``; normalised inside.
        random_state: Seed of the images drawn and of k-means.

    Returns:
        The tree, on the CPU.

    Raises:
        ValueError: If there is one cluster only, or sizes do not fit.

    Example:
        >>> from hadis_lightly.cluster import fit_partition
        >>> angles = torch.tensor([0.0, 0.05, 0.3, 0.35, 3.0, 3.05])
        >>> rows = torch.stack([angles.cos(), angles.sin()], dim=1)
        >>> tree = fit_tree(fit_partition(rows, 3, random_state=0), rows)
        >>> tree.levels, tree.groups(2)[torch.tensor([0, 0, 1])].shape
        ((3, 6), torch.Size([3]))
    """
    k = partition.n_clusters
    check_integer("partition.n_clusters", k, least=2)
    rows = directions(as_rows(embeddings, name="embeddings").cpu())
    labels = partition.labels.cpu()
    if len(rows) != len(labels):
        raise ValueError(
            f"embeddings must have one row per label, got {len(rows)} and "
            f"{len(labels)}."
        )
    drawn = np.random.default_rng(random_state).permutation(len(rows))[:_MAX_IMAGES]
    links = _links(rows[drawn].numpy(), labels[drawn].numpy(), k)
    prototypes = partition.prototypes.cpu().double().numpy()
    closeness = links + _TIE_BREAK * np.clip(prototypes @ prototypes.T, -1, 1)
    closeness = (closeness + closeness.T) / 2
    top = closeness.max()
    apart = top - closeness
    np.fill_diagonal(apart, 0)
    # A mean of what is linear in the links: heights are links again.
    joins = linkage(squareform(apart, checks=False), method="average")
    return ClusterTree(
        merges=torch.from_numpy(joins[:, :2].astype(np.int64)),
        links=torch.from_numpy(np.clip(top - joins[:, 2], 0, None)),
        splits=_splits(rows, labels, k, random_state),
    )


def _links(
    rows: npt.NDArray[Any], labels: npt.NDArray[np.int64], k: int
) -> npt.NDArray[np.float64]:
    """Nearest neighbours between clusters, as multiples of chance, ``(k, k)``."""
    n = len(rows)
    num = min(_NUM_NEIGHBOURS, n - 1)
    search = NearestNeighbors(n_neighbors=num, algorithm="brute").fit(rows)
    found = labels[search.kneighbors(return_distance=False)]  # (n, num)
    pairs = labels[:, None] * k + found
    counts = np.bincount(pairs.ravel(), minlength=k * k).reshape(k, k)
    sizes = np.bincount(labels, minlength=k)
    chance = np.outer(sizes, sizes) * (num / n)
    links: npt.NDArray[np.float64] = counts / np.maximum(chance, np.finfo(float).tiny)
    return links


def _splits(rows: Tensor, labels: Tensor, k: int, random_state: int) -> Tensor:
    """From the first to the second half of each cluster, ``(k, d)``."""
    splits = rows.new_zeros(k, rows.shape[1])
    order = labels.argsort(stable=True)
    sizes = labels.bincount(minlength=k).tolist()
    for cluster, members in enumerate(order.split(sizes)):  # type: ignore[no-untyped-call]
        own = rows[members]
        own = own[own.any(dim=1)]
        if len(own) > 1:
            halves = KMeans(2, metric="cosine", n_init=3, random_state=random_state)
            with warnings.catch_warnings():  # of rows that are all equal
                warnings.simplefilter("ignore", ConvergenceWarning)
                first, second = halves.fit(own).cluster_centers_
            splits[cluster] = second - first
    return splits
