"""A run as one module, from pixels to clusters, for exporters that trace it."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.cluster import PrototypePartition
from hadis_lightly.cluster.lloyd.arrays import directions
from hadis_lightly.models import FrozenBackbone
from hadis_lightly.prediction.predictor import ClusterPredictor

# Of PrototypePartition.confidence.
_TEMPERATURE = 0.1
_RIGHT_ANGLE = 2**0.5


class RunGraph(nn.Module):
    """What a predictor does with plain images, without checks, all in float32.

    Args:
        predictor: A predictor on the CPU; its networks are copied.

    Shape:
        Images ``(n, c, s, s)`` with pixels in [0, 1], not normalised, to clusters
        ``(n,)``, confidence ``(n,)``, embeddings ``(n, d)`` and distances ``(n,)``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, predictor: ClusterPredictor) -> None:
        super().__init__()
        views = predictor.settings.views
        for name, values, default in (("mean", views.mean, 0), ("std", views.std, 1)):
            levels = values or [float(default)] * views.num_channels
            self.register_buffer(name, torch.tensor(levels).view(-1, 1, 1))
        # Of student and teacher, the one whose embeddings are clustered.
        model = getattr(predictor.model, "teacher", predictor.model)
        self.network: Any = copy.deepcopy(model).float()
        self.backbone = next(
            (x for x in self.network.modules() if isinstance(x, FrozenBackbone)), None
        )
        self.feature_dtype = predictor.feature_dtype
        clusters = predictor.partition
        self.clusters: nn.Module = (
            NearestCentre(clusters)
            if isinstance(clusters, PrototypePartition)
            else MostProbable(clusters.prototypes.float())
        )
        self.eval().requires_grad_(False)
        for tensor in (*self.parameters(), *self.buffers()):
            # Of a slice, the whole would be written.
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns cluster, confidence, embedding and distance of each image."""
        x = (images - self.mean) / self.std
        if self.backbone is not None:
            # As in the feature bank.
            features = self.backbone.module(x).flatten(start_dim=1)
            x = self.backbone.reduced(features.to(self.feature_dtype)).float()
        if hasattr(self.network, "embed_and_assign"):
            embeddings, *rest = self.network.embed_and_assign(x)
        else:
            embeddings, *rest = (self.network(x),)
        embeddings = F.normalize(embeddings.float(), dim=1)
        cluster, confidence, distance = self.clusters(embeddings, *rest)
        return cluster, confidence, embeddings, distance


class NearestCentre(nn.Module):
    """:class:`PrototypePartition` in one piece."""

    centers: Tensor
    middle: Tensor
    offsets: Tensor
    fixed: Tensor
    mean: Tensor
    components: Tensor | None
    owners: Tensor | None

    def __init__(self, clusters: PrototypePartition) -> None:
        super().__init__()
        self.n_clusters = clusters.n_clusters
        whitening, owners = clusters.whitening, clusters.center_labels
        self.scale = 1 if whitening is None else whitening.n_components_
        centers = clusters.centers.double()
        middle = centers.mean(dim=0)
        centers = centers - middle
        d = clusters.prototypes.shape[1]
        fixed = directions(1 / torch.arange(1, d + 1).float().unsqueeze(0))
        tensors: dict[str, Tensor | None] = {
            "centers": centers.float(),
            "middle": middle.float(),
            "offsets": (-centers.square().sum(dim=1) / 2).float(),
            "fixed": fixed,
            "mean": None if whitening is None else whitening.mean_.float(),
            "components": None if whitening is None else whitening.components_.float(),
            "owners": owners,
        }
        for name, value in tensors.items():
            self.register_buffer(name, value)

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns cluster, confidence and distance of embeddings ``(n, d)``."""
        is_zero = (embeddings == 0).all(dim=1)
        points = embeddings + is_zero.float().unsqueeze(1) * self.fixed
        if self.components is not None:
            points = (points - self.mean) @ self.components
        points = points - self.middle
        scores = points @ self.centers.T + self.offsets
        nearest = labels = scores.argmax(dim=1)
        apart = points - self.centers[nearest]
        if self.owners is not None:
            labels = self.owners[nearest]
            best = scores.new_full((scores.shape[0], self.n_clusters), -torch.inf)
            scores = best.scatter_reduce(
                1, self.owners.expand_as(scores), scores, reduce="amax"
            )
        shares = F.softmax(scores / (self.scale * _TEMPERATURE), dim=1).amax(dim=1)
        confidence = torch.where(is_zero, 1 / self.n_clusters, shares)
        lengths = torch.linalg.vector_norm(apart, dim=1) / self.scale**0.5
        return labels, confidence, torch.where(is_zero, _RIGHT_ANGLE, lengths)


class MostProbable(nn.Module):
    """:class:`~hadis_lightly.cluster.HeadPartition` in one piece."""

    prototypes: Tensor

    def __init__(self, prototypes: Tensor) -> None:
        super().__init__()
        self.register_buffer("prototypes", prototypes)

    def forward(
        self, embeddings: Tensor, probabilities: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns cluster, confidence and distance of each image."""
        labels = probabilities.argmax(dim=1)
        apart = embeddings - self.prototypes[labels]
        distance = torch.linalg.vector_norm(apart, dim=1)
        is_zero = (embeddings == 0).all(dim=1)
        distance = torch.where(is_zero, _RIGHT_ANGLE, distance)
        return labels, probabilities.amax(dim=1), distance
