"""A partition of normalised embeddings: labels, prototypes, and whose is a new one."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from hadis_lightly.checks import check_number
from hadis_lightly.cluster.assign import (
    accurate_dtype,
    chunks,
    cluster_sums,
    half_squared_norms,
)
from hadis_lightly.cluster.kmeans import KMeans
from hadis_lightly.cluster.prepare import (
    as_integers,
    as_rows,
    check_columns,
    check_finite,
    check_integer,
    check_labels,
    directions,
)
from hadis_lightly.cluster.restarts import Processes
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
        return self._nearest(self._normalized(embeddings))

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
        return shares.gather(1, self._nearest(rows).unsqueeze(1)).squeeze(1)

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
        prototypes = self.prototypes.to(rows)[self._nearest(rows)]
        distances: Tensor = torch.linalg.vector_norm(rows - prototypes, dim=1)
        return distances

    def _normalized(self, embeddings: Tensor | npt.ArrayLike) -> Tensor:
        data = as_rows(embeddings, name="embeddings")
        check_columns(data, self.prototypes.shape[1], name="embeddings")
        data = data.to(torch.promote_types(data.dtype, self.prototypes.dtype))
        return _checked_directions(data)

    def _nearest(self, rows: Tensor) -> Tensor:
        """Label ``(n,)`` of the nearest centre for rows of length one ``(n, d)``."""
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


@full_precision()
def partition_embeddings(
    embeddings: Tensor | npt.ArrayLike,
    n_clusters: int,
    *,
    n_init: int = 10,
    random_state: int | torch.Generator | None = None,
    whiten: bool = False,
    start: Tensor | npt.ArrayLike | None = None,
    distributed: bool = False,
) -> Partition:
    """Clusters embeddings by k-means, on the cosine or in the whitened space.

    Args:
        embeddings: ``(n, d)``; normalised inside. Computed in float32 unless float64.
        n_clusters: Number of clusters k.
        n_init: Restarts of k-means.
        random_state: Seed of k-means.
        whiten: Whether k-means sees whitened embeddings, see :class:`Whitening`.
        start: Labels ``(n,)`` in ``[0, k)`` from whose clusters k-means starts, once.
            If one of them is empty it starts as usual.
        distributed: With several processes of torch.distributed, whether they share the
            restarts; the embeddings must be the same in all of them, and so is the
            partition that they find, to the last bit.

    Raises:
        ValueError: If there are fewer embeddings than clusters, one is not finite or
            has no direction, or a setting is out of its range.
        TypeError: If an argument has a wrong type.

    Example:
        >>> embeddings = F.normalize(torch.tensor([[9.0, 1], [9, 2], [1, 9], [2, 9]]))
        >>> partition = partition_embeddings(embeddings, 2, random_state=0)
        >>> (partition.predict(embeddings) == partition.labels).all()
        tensor(True)
    """
    check_integer("n_clusters", n_clusters, least=1)
    if not isinstance(whiten, bool):
        raise TypeError(f"whiten must be a bool, got {whiten!r}")
    data = as_rows(embeddings, name="embeddings")
    check_finite(data, name="embeddings")
    rows = points = _checked_directions(data)
    processes = Processes(distributed)
    whitening = None
    if whiten:
        whitening = Whitening(min_components=max(1, n_clusters - 1)).fit(rows)
        whitening = _from_first(whitening, processes)
        points = whitening.transform(rows)
    kmeans = KMeans(
        n_clusters,
        metric="euclidean" if whiten else "cosine",
        init=_init(points, start, n_clusters),
        n_init=n_init,
        random_state=random_state,
        distributed=distributed,
    ).fit(points)
    prototypes = centers = kmeans.cluster_centers_
    if whiten:
        prototypes = _prototypes(rows, points, centers, kmeans.labels_)
        prototypes = processes.from_first(prototypes)
    partition = Partition(kmeans.labels_, centers, prototypes, whitening)
    # What predict says of them, also where two centres are equally near.
    return replace(partition, labels=processes.from_first(partition._nearest(rows)))


def _checked_directions(data: Tensor) -> Tensor:
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


def _from_first(whitening: Whitening, processes: Processes) -> Whitening:
    """The whitening of process 0: eigenvectors may come with another sign or order."""
    if processes.size == 1:
        return whitening
    components = whitening.components_
    wanted = processes.from_first(
        torch.tensor(whitening.n_components_, device=components.device)
    )
    if int(wanted) != whitening.n_components_:
        components = components.new_empty(len(components), int(wanted))
    state = {"mean": whitening.mean_, "components": components}
    return Whitening.from_state_dict(
        {name: processes.from_first(value) for name, value in state.items()}
    )


def _init(
    points: Tensor, start: Tensor | npt.ArrayLike | None, n_clusters: int
) -> Tensor | Literal["k-means++"]:
    """Means of the points with each label, ``(k, d)``, or k-means++ if one has none."""
    if start is None:
        return "k-means++"
    labels = as_integers(start, name="start", least=0).to(points.device)
    check_labels(labels, len(points), n_clusters, name="start")
    sums, counts = cluster_sums(points, labels, n_clusters)
    if int(counts.min()) == 0:
        return "k-means++"
    means: Tensor = (sums / counts.unsqueeze(1)).to(points)
    return means


def _prototypes(
    rows: Tensor, points: Tensor, centers: Tensor, labels: Tensor
) -> Tensor:
    """Mean direction of the rows of each cluster, ``(k, d)``.

    A cluster without rows, or whose rows cancel out, has the row whose point is
    nearest to its centre.
    """
    sums, counts = cluster_sums(rows, labels, len(centers))
    means = F.normalize(sums, dim=1).to(rows)
    lengths = torch.linalg.vector_norm(sums, dim=1)
    for cluster in (lengths <= 1e-6 * counts).nonzero().flatten().tolist():
        apart = (points - centers[cluster]).square().sum(1)
        means[cluster] = rows[int(apart.argmin())]
    return means
