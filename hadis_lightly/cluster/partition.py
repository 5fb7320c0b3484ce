"""A partition of normalised embeddings: labels, prototypes, and whose is a new one."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.cluster.kmeans import KMeans
from hadis_lightly.cluster.prepare import check_finite
from hadis_lightly.cluster.scores import match_clusters
from hadis_lightly.cluster.whitening import Whitening
from hadis_lightly.precision import full_precision


@dataclass(frozen=True)
class Partition:
    """Clusters of a set of embeddings, found by :func:`partition_embeddings`."""

    labels: Tensor
    """Cluster of every embedding, ``(n,)``."""
    centers: Tensor
    """Centres in the space of k-means, ``(k, d)`` or, whitened, ``(k, m)``."""
    prototypes: Tensor
    """Normalised mean of the embeddings of every cluster, ``(k, d)``."""
    whitening: Whitening | None = None
    """How embeddings come into the space of k-means; None for the cosine."""

    @property
    def n_clusters(self) -> int:
        """Number of clusters k."""
        return len(self.prototypes)

    @full_precision()
    def predict(self, embeddings: Tensor) -> Tensor:
        """Cluster of each embedding, ``(n,)``.

        For the embeddings that were partitioned these are their labels.

        Args:
            embeddings: ``(n, d)``, of any length.
        """
        embeddings = F.normalize(embeddings.to(self.prototypes.dtype), dim=1)
        if self.whitening is None:
            return (embeddings @ self.centers.T).argmax(dim=1)
        points = self.whitening.transform(embeddings)
        # |p - c|^2 less |p|^2, which is the same for all centres.
        return (self.centers.square().sum(dim=1) - 2 * points @ self.centers.T).argmin(
            1
        )

    @full_precision()
    def confidence(self, embeddings: Tensor, temperature: float = 0.1) -> Tensor:
        """How clearly each embedding lies with its cluster, in (0, 1], ``(n,)``.

        The share of its own prototype in a softmax over the cosines to all of them.

        Args:
            embeddings: ``(n, d)``, of any length.
            temperature: Temperature of the softmax, > 0.
        """
        embeddings = F.normalize(embeddings.to(self.prototypes.dtype), dim=1)
        shares = F.softmax(embeddings @ self.prototypes.T / temperature, dim=1)
        return shares.gather(1, self.predict(embeddings).unsqueeze(1)).squeeze(1)

    def renumbered(self, previous_labels: Tensor) -> Partition:
        """The same clusters, numbered so that most embeddings keep their label.

        Args:
            previous_labels: Labels that the embeddings had before, ``(n,)``.
        """
        matching, _ = match_clusters(previous_labels, self.labels)  # new id to old id
        free = sorted(set(range(self.n_clusters)) - set(matching.values()))
        for cluster in range(self.n_clusters):
            if cluster not in matching:
                matching[cluster] = free.pop(0)
        order = sorted(matching, key=lambda cluster: matching[cluster])
        ids = torch.tensor([matching[k] for k in range(self.n_clusters)])
        return replace(
            self,
            labels=ids.to(self.labels.device)[self.labels],
            centers=self.centers[order],
            prototypes=self.prototypes[order],
        )

    def to(self, device: torch.device | str) -> Partition:
        """The partition with all tensors on the device."""
        whitening = self.whitening
        return replace(
            self,
            labels=self.labels.to(device),
            centers=self.centers.to(device),
            prototypes=self.prototypes.to(device),
            whitening=None if whitening is None else whitening.to(device),
        )

    def state_dict(self) -> dict[str, Any]:
        """Tensors alone, as they go into a checkpoint."""
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        state["whitening"] = self.whitening and self.whitening.state_dict()
        return state

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> Partition:
        """Makes a partition out of what :meth:`state_dict` gave."""
        whitening = state["whitening"]
        if whitening is not None:
            whitening = Whitening.from_state_dict(whitening)
        return cls(**{**state, "whitening": whitening})


def partition_embeddings(
    embeddings: Tensor,
    n_clusters: int,
    *,
    n_init: int = 10,
    random_state: int | None = None,
    whiten: bool = False,
    start: Tensor | None = None,
) -> Partition:
    """Clusters embeddings by k-means, on the cosine or in the whitened space.

    Args:
        embeddings: L2-normalised, ``(n, d)``.
        n_clusters: Number of clusters k.
        n_init: Restarts of k-means.
        random_state: Seed of k-means.
        whiten: Whether k-means sees whitened embeddings, see :class:`Whitening`.
        start: Labels ``(n,)`` from whose clusters k-means starts, once. If one of them
            is empty it starts as usual.

    Raises:
        ValueError: If there are fewer embeddings than clusters, or one is not finite.

    Example:
        >>> embeddings = F.normalize(torch.tensor([[9.0, 1], [9, 2], [1, 9], [2, 9]]))
        >>> partition = partition_embeddings(embeddings, 2, random_state=0)
        >>> (partition.predict(embeddings) == partition.labels).all()
        tensor(True)
    """
    check_finite(embeddings, name="embeddings")
    whitening = None
    points = embeddings
    if whiten:
        whitening = Whitening(min_components=n_clusters - 1).fit(embeddings)
        points = whitening.transform(embeddings)
    centers = None if start is None else _centers(points, start, n_clusters)
    kmeans = KMeans(
        n_clusters,
        metric="euclidean" if whiten else "cosine",
        init="k-means++" if centers is None else centers,
        n_init=n_init,
        random_state=random_state,
    ).fit(points)
    prototypes = kmeans.cluster_centers_
    if whiten:
        sums = _sums(embeddings, kmeans.labels_, n_clusters)
        prototypes = F.normalize(sums, dim=1)
    return Partition(kmeans.labels_, kmeans.cluster_centers_, prototypes, whitening)


def _centers(points: Tensor, labels: Tensor, n_clusters: int) -> Tensor | None:
    """Means of the points with each label, ``(k, d)``; None if a label has none."""
    labels = labels.to(points.device)
    counts = torch.bincount(labels, minlength=n_clusters)
    if int(counts.min()) == 0:
        return None
    return _sums(points, labels, n_clusters) / counts.unsqueeze(1)


def _sums(points: Tensor, labels: Tensor, n_clusters: int) -> Tensor:
    """Sums of the points with each label, ``(k, d)``."""
    sums = points.new_zeros(n_clusters, points.shape[1])
    return sums.index_add(0, labels, points)
