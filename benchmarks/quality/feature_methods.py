"""What others would do with features of a pretrained backbone, in place of HaDis.

- ``k-means``: on the cosine, the best of 10 starts.
- ``k-means, whitened``: the same on whitened features.
- ``UMAP + k-means``: umap-learn, 10 dimensions, 20 neighbours by cosine, min_dist 0.
- ``UMAP + HDBSCAN``: the same 10 dimensions, scikit-learn's HDBSCAN with clusters of 25
  images or more; what it leaves out is one cluster more. It finds its own number.
- ``spectral``: eigenvectors of the graph of the 10 nearest neighbours, and k-means.
- ``TEMI-like head``: see :class:`TemiHeads`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sklearn.cluster
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from sklearn.manifold import spectral_embedding
from torch import Tensor

from hadis_lightly.cluster.partition_fitting import fit_partition
from hadis_lightly.features import nearest_neighbours
from hadis_lightly.models import PrincipalComponents


class Features(NamedTuple):
    """Features of ``n`` images by a frozen backbone."""

    plain: Tensor
    """Of plain images, float32 ``(n, d)``."""
    views: Tensor
    """Of V views of each, ``(n, V, d)``."""


class Clusters(NamedTuple):
    """A clustering, and where it was made."""

    labels: Tensor
    """int64 ``(n,)``."""
    space: Tensor | None = None
    """Embedding ``(n, m)`` that was clustered, where it is not the features."""


def by_kmeans(features: Features, n_clusters: int, seed: int) -> Clusters:
    return Clusters(fit_partition(features.plain, n_clusters, random_state=seed).labels)


def by_whitened_kmeans(features: Features, n_clusters: int, seed: int) -> Clusters:
    found = fit_partition(features.plain, n_clusters, random_state=seed, whiten=True)
    return Clusters(found.labels)


def by_umap(features: Features, n_clusters: int, seed: int) -> Clusters:
    return _clustered(_umap(features, seed), n_clusters, seed)


def by_density(features: Features, n_clusters: int, seed: int) -> Clusters:
    space = _umap(features, seed)
    scan = sklearn.cluster.HDBSCAN(min_cluster_size=25, copy=True)
    labels = scan.fit_predict(space).astype(np.int64)
    labels[labels < 0] = labels.max() + 1
    return Clusters(torch.from_numpy(labels), torch.from_numpy(space).float())


def _umap(features: Features, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one thread, for the sake of the seed
        from umap import UMAP

        reduce = UMAP(
            n_components=min(10, len(features.plain) - 2),
            n_neighbors=20,
            min_dist=0.0,
            metric="cosine",
            random_state=seed,
        )
        space: np.ndarray = reduce.fit_transform(features.plain.numpy())
    return space


def by_spectrum(features: Features, n_clusters: int, seed: int) -> Clusters:
    """scikit-learn's SpectralClustering with exact neighbours by cosine, in blocks."""
    n, k = len(features.plain), min(10, len(features.plain) - 1)
    columns = nearest_neighbours(features.plain, k).flatten().numpy()
    edges = np.ones(n * k), (np.repeat(np.arange(n), k), columns)
    graph = csr_matrix(edges, shape=(n, n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a graph in several parts
        space = spectral_embedding(
            (graph + graph.T) / 2,
            n_components=n_clusters,
            drop_first=False,
            random_state=seed,
        )
    return _clustered(space, n_clusters, seed)


def _clustered(space: np.ndarray, n_clusters: int, seed: int) -> Clusters:
    kmeans = sklearn.cluster.KMeans(n_clusters, n_init=10, random_state=seed)
    labels = kmeans.fit_predict(space).astype(np.int64)
    return Clusters(torch.from_numpy(labels), torch.from_numpy(space).float())


@dataclass
class TemiHeads:
    r"""Linear heads that give neighbours the same cluster, after TEMI [0].

    For an image x and a neighbour x', student s and teacher t, head h and prior
    :math:`p` of the clusters,

    .. math:: -w \log \sum_k (q^s_k(x) q^t_k(x'))^\beta / p_k,
              \quad w = \mathrm{mean}_h \sum_k q^t_k(x) q^t_k(x')

    both ways. As in the paper the head of the lowest loss is taken in the end. Not as
    there: heads see views of the images, on their principal components, and are trained
    for few steps. Learning rate, momentum, temperature and beta were tuned a little,
    **with labels**, on parts 20 to 29 of CIFAR-10.

    - [0]: TEMI, 2023, https://arxiv.org/abs/2303.17896
    """

    n_heads: int = 16
    n_neighbours: int = 25
    n_components: int = 256
    n_steps: int = 800
    batch_size: int = 512
    learning_rate: float = 0.01
    teacher_momentum: float = 0.98
    temperature: float = 0.3
    beta: float = 0.8

    def fit(self, features: Features, n_clusters: int, seed: int) -> Clusters:
        """Trains; clusters of the plain images, and the chosen teacher's logits."""
        n, d = features.plain.shape
        rng = torch.Generator().manual_seed(seed)
        neighbours = nearest_neighbours(features.plain, min(self.n_neighbours, n - 1))
        reduce = PrincipalComponents(d, min(self.n_components, d)).fit(features.plain)
        plain = reduce(features.plain)
        scale = plain.std()
        parts = features.views.split(1024)  # type: ignore[no-untyped-call]
        views = torch.cat([reduce(part) for part in parts]) / scale  # (n, V, m)
        shape = self.n_heads, plain.shape[1], n_clusters
        student = torch.randn(shape, generator=rng) / math.sqrt(shape[1])
        student.requires_grad_()
        teacher = student.detach().clone()
        prior = torch.full((self.n_heads, n_clusters), 1 / n_clusters)
        optimizer = torch.optim.Adam([student], self.learning_rate)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.n_steps)
        losses = torch.zeros(self.n_heads)
        for _ in range(self.n_steps):
            rows = torch.randint(n, (self.batch_size,), generator=rng)
            own = _drawn(views, rows.unsqueeze(1), rng)
            near = _drawn(views, neighbours[rows], rng)
            loss = self._loss((own, near), student, teacher, prior)  # (h,)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
            cosine.step()
            teacher.lerp_(student.detach(), 1 - self.teacher_momentum)
            losses.lerp_(loss.detach(), 0.02)
        logits = (plain / scale) @ teacher[losses.argmin()]
        return Clusters(logits.argmax(dim=1), logits)

    def _loss(
        self,
        x: tuple[Tensor, Tensor],
        student: Tensor,
        teacher: Tensor,
        prior: Tensor,
    ) -> Tensor:
        """Loss of each head ``(h,)``; moves the prior ``(h, k)``."""
        s0, s1 = (self._assigned(part, student) for part in x)  # (h, b, k)
        t0, t1 = (self._assigned(part, teacher) for part in x)
        prior.lerp_((t0 + t1).mean(dim=1) / 2, 0.1)
        weight = (t0 * t1).sum(dim=2).mean(dim=0)  # (b,)
        both = torch.stack([s0 * t1, s1 * t0]).clamp_min(1e-12)  # (2, h, b, k)
        ratio = (both**self.beta / prior.unsqueeze(1)).sum(dim=3).log().mean(dim=0)
        return -(weight * ratio).mean(dim=1)

    def _assigned(self, x: Tensor, heads: Tensor) -> Tensor:
        """Probabilities of the clusters by each head, ``(h, b, k)``."""
        return F.softmax(x @ heads / self.temperature, dim=2)


def _drawn(views: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
    """A view of one image of each row, ``(b, d)``."""
    b, k = images.shape
    column = torch.randint(k, (b, 1), generator=rng)
    view = torch.randint(views.shape[1], (b,), generator=rng)
    return views[images.gather(1, column).squeeze(1), view]


def by_temi(features: Features, n_clusters: int, seed: int) -> Clusters:
    return TemiHeads().fit(features, n_clusters, seed)


BASELINES: dict[str, Callable[[Features, int, int], Clusters]] = {
    "k-means": by_kmeans,
    "k-means, whitened": by_whitened_kmeans,
    "UMAP + k-means": by_umap,
    "UMAP + HDBSCAN": by_density,
    "spectral": by_spectrum,
    "TEMI-like head": by_temi,
}


def neighbour_accuracy(space: Tensor, targets: Tensor, n_neighbours: int = 20) -> float:
    """Fraction of the images whose neighbours are mostly of their class.

    Of two classes with equally many neighbours the lower number counts.

    Args:
        space: ``(n, d)``; neighbours are by cosine, the image itself left out.
        targets: Classes, int64 ``(n,)``.
        n_neighbours: Number of neighbours.
    """
    k = min(n_neighbours, len(space) - 1)
    classes = targets[nearest_neighbours(space, k)]
    return float((classes.mode(dim=1).values == targets).float().mean())
