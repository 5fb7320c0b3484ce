"""The clusters of a network that has a cluster head, and pseudo-labels for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from hadis_lightly.checks import check_integer
from hadis_lightly.cluster import HeadPartition
from hadis_lightly.data.key_index import Keys
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.embedding import EmbeddedSet


class ClusterHeadAssignment(ClusteringCallback[HeadPartition]):
    """Takes the clusters of the training set from the cluster head of the module.

    After every epoch, and before the first, the label of an image is the most probable
    cluster of the plain image, as in Contrastive Clustering [0]. The number of a
    cluster is the number of its output, so clusters keep theirs.

    For PICI [1] it finds pseudo-labels as well, towards the end of training: by k-means
    on the embeddings of the whole set, its clusters matched to those of the head by the
    Hungarian method.

    Works with any ``LightningModule`` that offers ``embed(x)`` and
    ``embed_and_assign(x)``: embeddings ``(n, d)`` and probabilities ``(n, k)``. Where
    the module has ``cluster_weights``, images of weight 0 get no pseudo-label.

    Args:
        n_clusters: Number of clusters, at least 2.
        dataloader: Yields ``(images, targets, keys)`` of the whole training set under
            the plain test transform, see :class:`ClusteringCallback`.
        warmup_epochs: First epochs, in which the head is not trained yet and no
            collapse is reported. CC: 0; PICI: 200.
        every_n_epochs: Cluster after every n-th epoch only (and after the last).
        pseudo_label_epochs: Epochs at the end of training that have pseudo-labels.
            CC: 0; PICI: 50.
        n_init: Restarts of k-means for the pseudo-labels.
        random_state: Seed of k-means; None draws from PyTorch's global generator.
        whiten: Whether k-means sees whitened embeddings.
        name, follow_limits: See :class:`PrototypeKMeans`.

    Raises:
        TypeError: If the module has no cluster head.
        ValueError: If a number is out of range.

    - [0]: Contrastive Clustering, 2021, https://arxiv.org/abs/2009.09687
    - [1]: PICI, 2024, https://arxiv.org/abs/2401.13503
    """

    partition_type = HeadPartition
    remedies: ClassVar = {
        "spread": "a lower learning rate may help, and batches of 256 images or more",
        "share": "longer training may help, if the classes are not that uneven",
        "empty": "longer training may help, or there are fewer kinds of images",
        "prototypes": "n_clusters may be too high, or the embeddings are collapsing",
    }
    required = ("embed", "embed_and_assign")

    def __init__(
        self,
        n_clusters: int,
        dataloader: Iterable[Any],
        warmup_epochs: int = 0,
        every_n_epochs: int = 1,
        *,
        pseudo_label_epochs: int = 0,
        n_init: int = 10,
        random_state: int | None = None,
        whiten: bool = False,
        name: str = "cluster",
        follow_limits: bool = True,
    ) -> None:
        super().__init__(
            n_clusters,
            dataloader,
            warmup_epochs,
            every_n_epochs,
            n_init=n_init,
            random_state=random_state,
            whiten=whiten,
            name=name,
            follow_limits=follow_limits,
        )
        check_integer("pseudo_label_epochs", pseudo_label_epochs, least=0)
        self.pseudo_label_epochs = pseudo_label_epochs
        self._pseudo_labels: Tensor | None = None

    def pseudo_labels(self, keys: Keys) -> Tensor | None:
        """Clusters by k-means, in the head's numbers, ``(n,)``; None before their time.

        -1 for images of weight 0.

        Args:
            keys: Keys of the loader: indices or file names.

        Raises:
            ValueError: If the loader never yielded a key.
        """
        if self._pseudo_labels is None:
            return None
        rows = self._known_rows(keys)
        return None if rows is None else self._pseudo_labels[rows]

    def is_due(self, trainer: pl.Trainer, epoch: int) -> bool:
        """Whether to cluster after so many epochs: always for pseudo-labels."""
        return super().is_due(trainer, epoch) or self._needs_pseudo_labels(epoch)

    def fit_partition(self, embedded: EmbeddedSet) -> HeadPartition:
        """The most probable clusters."""
        assert embedded.probabilities is not None
        k = embedded.probabilities.shape[1]
        if k != self.n_clusters:
            raise ValueError(
                f"the module's cluster head has {k} clusters, but n_clusters is "
                f"{self.n_clusters}."
            )
        return HeadPartition.of(embedded.embeddings, embedded.probabilities)

    def on_clustered(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        embedded: EmbeddedSet,
        epoch: int,
    ) -> None:
        """Finds pseudo-labels if they are due."""
        self._pseudo_labels = None
        if self._needs_pseudo_labels(epoch):
            weights: Any = getattr(pl_module, "cluster_weights", None)
            self._pseudo_labels = self._matched(embedded, weights)

    def _needs_pseudo_labels(self, epoch: int) -> bool:
        end = self._num_epochs  # infinite for a training without an end
        return end - self.pseudo_label_epochs <= epoch < end

    def _goes_on(self, trainer: pl.Trainer) -> bool:
        needs = self._needs_pseudo_labels(trainer.current_epoch)
        return super()._goes_on(trainer) and (self._pseudo_labels is not None) == needs

    def _matched(self, embedded: EmbeddedSet, weights: Tensor | None) -> Tensor:
        """Labels by k-means, ``(n,)``, in the numbers of the head's clusters.

        Images of weight 0 take no part; weights go by index of the image.
        NOTE: Of the plain images of the whole set, once per epoch. The authors cluster
        each view, once for all these epochs, and match the clusters batch by batch,
        so the two views of an image may be told to belong to two clusters.
        """
        labels = self.labels_
        counts = torch.ones_like(labels, dtype=torch.bool)
        if weights is not None:
            indices: Any = embedded.keys.keys
            counts = weights[indices.to(weights.device)] > 0
        pseudo_labels = torch.full_like(labels, -1)
        if self._is_fast_dev_run and int(counts.sum()) < self.n_clusters:
            return pseudo_labels
        found = self.fit_kmeans(embedded.embeddings[counts])
        # Most images keep the label that the head gave them; alike in all processes.
        pseudo_labels[counts] = found.renumbered(labels[counts]).labels
        return pseudo_labels

    def _move(self, device: torch.device) -> None:
        super()._move(device)
        if self._pseudo_labels is not None:
            self._pseudo_labels = self._pseudo_labels.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Clusters, history and pseudo-labels, as they go into a checkpoint."""
        state = super().state_dict()
        return state | {"pseudo_labels": self._pseudo_labels} if state else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes clusters, history and pseudo-labels out of a checkpoint."""
        super().load_state_dict(state_dict)
        if state_dict:
            self._pseudo_labels = state_dict["pseudo_labels"]
