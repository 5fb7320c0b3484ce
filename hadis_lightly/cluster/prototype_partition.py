"""A partition of normalised embeddings: labels, prototypes, and whose is a new one."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.checks import check_number
from hadis_lightly.cluster.lloyd.assign import (
    accurate_dtype,
    chunks,
    half_squared_norms,
)
from hadis_lightly.cluster.lloyd.prepare import (
    as_integers,
    as_rows,
    check_columns,
    check_labels,
    directions,
)
from hadis_lightly.cluster.scores import match_clusters
from hadis_lightly.cluster.whitening import Whitening
from hadis_lightly.precision import full_precision


@dataclass(frozen=True)
class Partition:
    """Clusters of a set of embeddings, found by ``fit_partition``."""

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
    def predict(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        """Cluster of each embedding, ``(n,)``.

        For the embeddings that were partitioned these are their labels.

        Args:
            embeddings: ``(n, d)``, of any length. An accelerator is not made to wait
                for a look at their values; there, labels of embeddings without a
                direction (zero, NaN) mean nothing.

        Raises:
            ValueError: If ``embeddings`` has another number of columns or, on a CPU,
                an embedding without a direction.
            TypeError: If it holds no real numbers.
        """
        return self.nearest(self._normalized(embeddings))

    @full_precision()
    def confidence(
        self, embeddings: Tensor | npt.ArrayLike, temperature: float = 0.1
    ) -> Tensor:
        """How clearly each embedding lies with its cluster, in [0, 1], ``(n,)``.

        The share of its own prototype in a softmax over the cosines to all of them.

        Args:
            embeddings: ``(n, d)``, as in :meth:`predict`.
            temperature: Temperature of the softmax, > 0.

        Raises:
            ValueError: As :meth:`predict`, or if ``temperature`` is not above 0.
            TypeError: As :meth:`predict`, or if ``temperature`` is no number.
        """
        check_number("temperature", temperature, 0, above=True)
        rows = self._normalized(embeddings)
        cosines = rows @ self.prototypes.to(rows).T
        # At once, a low temperature would overflow.
        cosines = cosines - cosines.amax(dim=1, keepdim=True)
        # Not below 1e-30: the quotient stays a number.
        shares = F.softmax(cosines / max(temperature, 1e-30), dim=1)
        return shares.gather(1, self.nearest(rows).unsqueeze(1)).squeeze(1)

    @full_precision()
    def distance(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        """Distance of each embedding to the prototype of its cluster, ``(n,)``.

        Euclidean, between vectors of length one: 0 for the same direction, 1.41 for a
        right angle, 2 for opposite ones.

        Args:
            embeddings: ``(n, d)``, as in :meth:`predict`.

        Raises:
            ValueError: As :meth:`predict`.
            TypeError: As :meth:`predict`.
        """
        rows = self._normalized(embeddings)
        prototypes = self.prototypes.to(rows)[self.nearest(rows)]
        distances: Tensor = torch.linalg.vector_norm(rows - prototypes, dim=1)
        return distances

    def _normalized(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        data = as_rows(embeddings, name="embeddings")
        check_columns(data, self.prototypes.shape[1], name="embeddings")
        data = data.to(torch.promote_types(data.dtype, self.prototypes.dtype))
        return checked_directions(data)

    def nearest(self, rows: Tensor) -> Tensor:
        """As :meth:`predict`, for rows of length one ``(n, d)`` that need no check."""
        if self.whitening is not None:
            rows = self.whitening.transform(rows)
        # Wide, and seen from between the centres: exact without a second look.
        wide = accurate_dtype(rows.device)
        centers = self.centers.to(wide)
        middle = centers.mean(dim=0)
        centers = centers - middle
        offsets = half_squared_norms(centers, metric="euclidean").neg()
        labels = torch.empty(len(rows), dtype=torch.long, device=rows.device)
        for part in chunks(len(rows), max(centers.shape), None):
            scores = torch.addmm(offsets, rows[part].to(wide) - middle, centers.T)
            labels[part] = scores.argmax(dim=1)
        return labels

    def renumbered(self, previous_labels: Tensor | npt.ArrayLike) -> Partition:
        """The same clusters, numbered so that most embeddings keep their label.

        Args:
            previous_labels: Labels that the embeddings had before, ``(n,)`` integers in
                ``[0, k)``; -1 where an embedding had none.

        Raises:
            ValueError: If there are not as many labels, or one is out of the range.
            TypeError: If they are not integers.
        """
        previous = as_integers(previous_labels, name="previous_labels", least=-1)
        check_labels(
            previous, len(self.labels), self.n_clusters, name="previous_labels"
        )
        if not bool((previous >= 0).any()):
            return self
        matching, _ = match_clusters(previous, self.labels)  # new id to old id
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


def checked_directions(data: Tensor) -> Tensor:
    """Embeddings of length one; their values are looked at on a CPU only."""
    if data.device.type == "cpu":
        largest = data.abs().amax(dim=1)
        wrong = ~((largest > 0) & largest.isfinite())
        if bool(wrong.any()):
            raise ValueError(
                f"embeddings has {int(wrong.sum())} rows without a direction (zero, "
                f"NaN or infinite), the first is row {int(wrong.nonzero()[0])}"
            )
    return directions(data)
