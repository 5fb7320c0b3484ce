"""The partition that k-means finds: the nearest prototype decides."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.checks import check_number
from hadis_lightly.cluster.lloyd.arrays import (
    as_labels,
    as_rows,
    check_columns,
    directions,
    unit_rows,
)
from hadis_lightly.cluster.lloyd.assign import (
    accurate_dtype,
    chunks,
    half_squared_norms,
)
from hadis_lightly.cluster.scores import match_clusters
from hadis_lightly.cluster.whitening import Whitening
from hadis_lightly.precision import full_precision


@dataclass(frozen=True)
class PrototypePartition:
    """Clusters of a set of embeddings, found by ``fit_partition``."""

    labels: Tensor
    """Cluster of every embedding, ``(n,)``."""
    centers: Tensor
    """Centres in the space of k-means, ``(k, d)`` or, whitened, ``(k, m)``."""
    prototypes: Tensor
    """Normalised mean of the embeddings of every cluster, ``(k, d)``."""
    whitening: Whitening | None = None
    """From embeddings to the space of k-means; None for the cosine."""

    @property
    def n_clusters(self) -> int:
        """Number of clusters k."""
        return len(self.prototypes)

    @full_precision()
    def predict(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        """Cluster of each embedding, ``(n,)``; for those of the fit their labels.

        Args:
            embeddings: ``(n, d)``, of any length. Their values are checked on a CPU
                only, so that no accelerator has to wait; there, the label of an
                embedding without a direction (zero, NaN) means nothing.

        Raises:
            ValueError: If ``embeddings`` has another number of columns or, on a CPU,
                an embedding without a direction.
        """
        return self.nearest(self._normalized(embeddings))

    @full_precision()
    def confidence(
        self, embeddings: Tensor | npt.ArrayLike, temperature: float = 0.1
    ) -> Tensor:
        """How clearly each embedding belongs to its cluster, in [0, 1], ``(n,)``.

        The share of its own prototype in a softmax over the cosines to all of them.

        Args:
            embeddings: ``(n, d)``, as in :meth:`predict`.
            temperature: Temperature of the softmax, > 0.
        """
        check_number("temperature", temperature, 0, above=True)
        rows = self._normalized(embeddings)
        cosines = rows @ self.prototypes.to(rows).T
        # Before the division, which could overflow.
        cosines = cosines - cosines.amax(dim=1, keepdim=True)
        shares = F.softmax(cosines / temperature, dim=1)
        return shares.gather(1, self.nearest(rows).unsqueeze(1)).squeeze(1)

    @full_precision()
    def distance(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        """Distance of each embedding from the prototype of its cluster, ``(n,)``.

        Euclidean, between vectors of length one: 0 for the same direction, 1.41 for a
        right angle, 2 for opposite ones.

        Args:
            embeddings: ``(n, d)``, as in :meth:`predict`.
        """
        rows = self._normalized(embeddings)
        prototypes = self.prototypes.to(rows)[self.nearest(rows)]
        distances: Tensor = torch.linalg.vector_norm(rows - prototypes, dim=1)
        return distances

    def _normalized(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        data = as_rows(embeddings, name="embeddings")
        check_columns(data, self.prototypes.shape[1], name="embeddings")
        data = data.to(torch.promote_types(data.dtype, self.prototypes.dtype))
        if data.device.type == "cpu":
            return unit_rows(data, name="embeddings")
        return directions(data)

    def nearest(self, rows: Tensor) -> Tensor:
        """As :meth:`predict`, for rows of length one ``(n, d)`` that need no check."""
        if self.whitening is not None:
            rows = self.whitening.transform(rows)
        # In float64 and relative to the centres' mean: exact without a second look.
        wide = accurate_dtype(rows.device)
        centers = self.centers.to(wide)
        middle = centers.mean(dim=0)
        centers = centers - middle
        offsets = half_squared_norms(centers, metric="euclidean").neg()
        labels = torch.empty(len(rows), dtype=torch.long, device=rows.device)
        for part in chunks(len(rows), max(centers.shape)):
            scores = torch.addmm(offsets, rows[part].to(wide) - middle, centers.T)
            labels[part] = scores.argmax(dim=1)
        return labels

    def renumbered(self, previous_labels: Tensor | npt.ArrayLike) -> PrototypePartition:
        """The same clusters, numbered so that most embeddings keep their label.

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
        matching, _ = match_clusters(previous, self.labels)  # new id -> old id
        free = iter(sorted(set(range(k)) - set(matching.values())))
        ids = [matching[i] if i in matching else next(free) for i in range(k)]
        renamed = torch.tensor(ids, device=self.labels.device)
        order = renamed.argsort()
        return replace(
            self,
            labels=renamed[self.labels],
            centers=self.centers[order],
            prototypes=self.prototypes[order],
        )

    def to(self, device: torch.device | str) -> PrototypePartition:
        """The partition with all tensors on the device."""
        return PrototypePartition(
            labels=self.labels.to(device),
            centers=self.centers.to(device),
            prototypes=self.prototypes.to(device),
            whitening=self.whitening and self.whitening.to(device),
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
