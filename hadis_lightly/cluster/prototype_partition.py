"""The partition that k-means finds: the nearest prototype decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.checks import check_number
from hadis_lightly.cluster.lloyd.arrays import (
    as_labels,
    as_rows,
    check_columns,
    check_numbers,
    directions,
    to_device,
)
from hadis_lightly.cluster.lloyd.assign import (
    chunks,
    half_squared_norms,
)
from hadis_lightly.cluster.scoring.matching import best_matching, known_labels
from hadis_lightly.cluster.whitening import Whitening
from hadis_lightly.precision import accurate_dtype, full_precision


class _Located(NamedTuple):
    """Some embeddings in the space of k-means."""

    points: Tensor  # (n, m)
    scores: Tensor  # (n, k): minus half the squared distances, up to a constant per row
    labels: Tensor  # (n,), of the highest score
    nearest: Tensor  # (n,), the centre that has it
    is_zero: Tensor  # (n,): whether the embedding has no direction


@dataclass(frozen=True)
class PrototypePartition:
    """Clusters of a set of embeddings, found by ``fit_partition``."""

    labels: Tensor
    """Cluster of every embedding, ``(n,)``."""
    centers: Tensor
    """Centres in the space of k-means, ``(k, d)`` or, whitened, ``(k, m)``; more than k
    if clusters have several, see :func:`~hadis_lightly.cluster.merge_clusters`."""
    prototypes: Tensor
    """Normalised mean of the embeddings of every cluster, ``(k, d)``."""
    whitening: Whitening | None = None
    """From embeddings to the space of k-means; None for the cosine."""
    center_labels: Tensor | None = None
    """Cluster of each centre; None where every cluster has the centre of its number."""

    @property
    def n_clusters(self) -> int:
        """Number of clusters k."""
        return len(self.prototypes)

    @full_precision()
    def predict(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        """Cluster of each embedding, ``(n,)``: the nearest centre.

        For embeddings of the fit these are their labels. An embedding of zeros, which
        has no direction, gets the cluster nearest to one fixed direction, the same in
        the fit and here.

        Args:
            embeddings: ``(n, d)``, of any length. Their values are checked on a CPU
                only, so that no accelerator has to wait; there, the label of an
                embedding with NaN or infinite values means nothing.

        Raises:
            ValueError: If ``embeddings`` has another number of columns or, on a CPU,
                NaN or infinite values.
        """
        data = self._checked(embeddings)
        labels = torch.empty(len(data), dtype=torch.long, device=data.device)
        for part, located in self._located(data):
            labels[part] = located.labels
        return labels

    @full_precision()
    def confidence(
        self, embeddings: Tensor | npt.ArrayLike, temperature: float = 0.1
    ) -> Tensor:
        r"""How clearly each embedding belongs to its cluster, in [1 / k, 1], ``(n,)``.

        The share of its own cluster in a softmax of :math:`-\delta_j^2 / (2 \tau)` over
        the :meth:`distance` :math:`\delta_j` to every centre; for the cosine that is a
        softmax of :math:`\cos_j / \tau`. The cluster of an embedding is the one of the
        largest share. An embedding of zeros gets 1 / k.

        Args:
            embeddings: ``(n, d)``, as in :meth:`predict`.
            temperature: Temperature :math:`\tau` of the softmax, > 0.
        """
        check_number("temperature", temperature, 0, above=True)
        data = self._checked(embeddings)
        confidence = data.new_empty(len(data))
        for part, located in self._located(data):
            # Before the division, which could overflow.
            scores = located.scores - located.scores.amax(dim=1, keepdim=True)
            shares = F.softmax(scores / self._scale / temperature, dim=1).amax(dim=1)
            shares.masked_fill_(located.is_zero, 1 / self.n_clusters)
            confidence[part] = shares.to(data.dtype)
        return confidence

    @full_precision()
    def distance(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        """Distance of each embedding from the nearest centre of its cluster, ``(n,)``.

        Euclidean, in the space of k-means. For the cosine it lies between vectors of
        length one: 0 for the same direction, 1.41 for a right angle, 2 for opposite
        ones. In a whitened space with m components it is divided by the square root of
        m: embeddings have a mean squared length of 1 there as well, but no upper bound.
        An embedding of zeros gets 1.41 in both.

        Args:
            embeddings: ``(n, d)``, as in :meth:`predict`.
        """
        data = self._checked(embeddings)
        distances = data.new_empty(len(data))
        for part, located in self._located(data):
            apart = located.points - self.centers.to(located.points)[located.nearest]
            lengths = torch.linalg.vector_norm(apart, dim=1) / self._scale**0.5
            distances[part] = lengths.masked_fill_(located.is_zero, 2**0.5)
        return distances

    @property
    def _scale(self) -> int:
        """Mean squared length of the embeddings in the space of k-means."""
        return 1 if self.whitening is None else self.whitening.n_components_

    def _checked(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        data = as_rows(embeddings, name="embeddings")
        check_columns(data, self.prototypes.shape[1], name="embeddings")
        if data.device.type == "cpu":
            check_numbers(data, name="embeddings")
        return data.to(torch.promote_types(data.dtype, self.prototypes.dtype))

    def _located(self, data: Tensor) -> Iterator[tuple[slice, _Located]]:
        """Embeddings ``(n, d)`` in the space of k-means, a part of the rows at a time.

        Nothing of the size of all of them is held.
        """
        # In float64 and relative to the centres' mean: exact without a second look.
        wide = accurate_dtype(data.device)
        centers = self.centers.to(wide)
        middle = centers.mean(dim=0)
        centers = centers - middle
        offsets = half_squared_norms(centers, metric="euclidean").neg()
        # In place of zeros; any direction would do to which no two centres are equally
        # near.
        fixed = directions(torch.ones_like(data[:1]).cumsum(dim=1).reciprocal())
        owners = self.center_labels
        if owners is not None:
            owners = owners.to(data.device)
        for part in chunks(len(data), max(len(centers), data.shape[1])):
            points = directions(data[part])
            is_zero = torch.linalg.vector_norm(points, dim=1) == 0
            points.addcmul_(is_zero.to(points).unsqueeze(1), fixed)
            if self.whitening is not None:
                points = self.whitening.transform(points)
            scores = torch.addmm(offsets, points.to(wide) - middle, centers.T)
            nearest = labels = scores.argmax(dim=1)
            if owners is not None:
                labels = owners[nearest]
                best = scores.new_full((len(points), self.n_clusters), -torch.inf)
                scores = best.scatter_reduce_(
                    1, owners.expand_as(scores), scores, reduce="amax"
                )
            yield part, _Located(points, scores, labels, nearest, is_zero)

    def renumbered(self, previous_labels: Tensor | npt.ArrayLike) -> PrototypePartition:
        """The same clusters, numbered so that most embeddings keep their label.

        The number of labels kept is the largest possible, for any number of clusters.

        Args:
            previous_labels: Labels that the embeddings had before, ``(n,)`` integers in
                ``[0, k)``; -1 where an embedding had none.
        """
        k = self.n_clusters
        previous = as_labels(
            previous_labels,
            name="previous_labels",
            least=-1,
            n_rows=len(self.labels),
            n_clusters=k,
        )
        if not bool((previous >= 0).any()):
            return self
        matching, _ = best_matching(*known_labels(previous, self.labels))
        # From new ids to old ones.
        free = iter(sorted(set(range(k)) - set(matching.values())))
        ids = [matching[i] if i in matching else next(free) for i in range(k)]
        renamed = torch.tensor(ids, device=self.labels.device)
        order, owners = renamed.argsort(), self.center_labels
        return replace(
            self,
            labels=renamed[self.labels],
            centers=self.centers[order] if owners is None else self.centers,
            prototypes=self.prototypes[order],
            center_labels=owners if owners is None else renamed[owners],
        )

    def to(self, device: torch.device | str) -> PrototypePartition:
        """The partition with all tensors on the device."""
        owners = self.center_labels
        return PrototypePartition(
            labels=self.labels.to(device),
            centers=to_device(self.centers, device),
            prototypes=to_device(self.prototypes, device),
            whitening=self.whitening and self.whitening.to(device),
            center_labels=owners if owners is None else owners.to(device),
        )

    def state_dict(self) -> dict[str, Any]:
        """The tensors, for a checkpoint."""
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        state["whitening"] = self.whitening and self.whitening.state_dict()
        return state

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> PrototypePartition:
        """The partition that :meth:`state_dict` was called on."""
        whitening = state["whitening"]
        if whitening is not None:
            whitening = Whitening.from_state_dict(whitening)
        return cls(**{**state, "whitening": whitening})
