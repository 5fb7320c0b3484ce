"""k-means over a module's embeddings, once per epoch: pseudo-labels and scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from hadis_lightly.checks import check_bool, check_integer
from hadis_lightly.cluster import PrototypePartition, fit_partition
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.embedding import EmbeddedSet
from hadis_lightly.training.key_index import Keys

_REMEDIES = {
    "spread": "a higher teacher_momentum or a lower learning rate may help, and "
    "batches of 64 images or more",
    "share": "k-means on whitened embeddings (whiten=True) or a lower pcl_weight may "
    "help, if the classes are not that uneven",
    "empty": "there may be fewer kinds of images than n_clusters",
    "prototypes": "n_clusters may be too high, or the embeddings are collapsing",
}


class PrototypeKMeans(ClusteringCallback[PrototypePartition]):
    """Clusters the training set before the first and after every epoch.

    The module embeds the whole set in evaluation mode; the embeddings are normalised
    and clustered by cosine k-means. The labels serve as pseudo-labels of the next
    epoch, and are what NMI, ACC and ARI are computed from, as in ProPos [0] and
    HaDis [1]. Clusters keep their ids from one epoch to the next.

    With several processes each image is embedded by one of them, if the loader gives
    each its share (:class:`~hadis_lightly.data.EpochSampler`,
    ``DistributedSampler``), the restarts of k-means are shared as well, and all have
    the same labels.

    Signs of a collapse are logged as warnings, once each, from the end of warm-up on.

    Works with any ``LightningModule`` that offers ``embed(x)``: images
    ``(n, c, h, w)`` in, embeddings ``(n, d)`` out.

    Args:
        n_clusters: Number of clusters, at least 2.
        dataloader: Yields ``(images, targets, keys)`` of the whole training set under
            the plain test transform. Keys are indices, as from
            :class:`~hadis_lightly.data.IndexedDataset`, or file names, as from
            lightly's ``LightlyDataset``; targets are class numbers, -1 where unknown.
        warmup_epochs: Number of first epochs in which there are no pseudo-labels.
            Paper: 50.
        every_n_epochs: Cluster after every n-th epoch only (and after the last).
        n_init: Restarts of k-means; the best is kept. Paper: 10.
        random_state: Seed of k-means; None draws from PyTorch's global generator.
        whiten: Whether k-means sees whitened embeddings
            (:class:`~hadis_lightly.cluster.Whitening`) in place of the cosine. NOTE:
            Not in the paper. Early embeddings have a few directions of large variance
            along which cosine k-means splits classes; once PCL trains on such a
            partition it stays, since it also has the lower inertia.
        warm_start: Whether k-means starts once, from the clusters of the last time, in
            place of ``n_init`` restarts. Faster; NOTE: not in the paper, and what it
            was stuck in it stays in.

    Attributes:
        partition_: The clusters: labels, prototypes, and how to predict; None until
            training starts.
        targets_: Class of every image, -1 where unknown, ``(n,)``, on the CPU.
        embeddings_: Normalised embeddings of the last clustering, ``(n, d)``.
        scores_: ``{"nmi", "acc", "ari"}`` where targets are known, else the label-free
            scores of :func:`~hadis_lightly.cluster.label_free_scores`.
        history_: One dictionary per clustering: epoch, seconds and scores.

    Raises:
        ValueError: If a number is out of range, or the loader has fewer images than
            there are clusters.

    - [0]: ProPos, 2022, https://arxiv.org/abs/2111.11821
    - [1]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    remedies = _REMEDIES

    def __init__(
        self,
        n_clusters: int,
        dataloader: Iterable[Any],
        warmup_epochs: int = 50,
        every_n_epochs: int = 1,
        n_init: int = 10,
        random_state: int | None = None,
        *,
        whiten: bool = False,
        warm_start: bool = False,
    ) -> None:
        super().__init__(n_clusters, dataloader, warmup_epochs, every_n_epochs)
        check_integer("n_init", n_init, least=1)
        if random_state is not None:
            check_integer("random_state", random_state, least=0)
        check_bool("whiten", whiten)
        check_bool("warm_start", warm_start)
        self.n_init = n_init
        self.random_state = random_state
        self.whiten = whiten
        self.warm_start = warm_start

    def labels(self, keys: Keys) -> Tensor | None:
        """Pseudo-labels of some images, ``(n,)``; None during warm-up.

        Args:
            keys: What the loader gave as keys: indices or file names.

        Raises:
            ValueError: If a key did not come out of the loader.
        """
        if self.is_warming_up or self._keys is None:
            return None
        return self.labels_[self.rows(keys)]

    def nearest(self, teacher: Tensor) -> Tensor | None:
        """Number of the prototype nearest to each teacher embedding, ``(n,)``.

        A pseudo-label for loaders that give no keys; None during warm-up.

        Args:
            teacher: Embeddings by the teacher, ``(n, d)``, of any length.
        """
        if self.is_warming_up or self.partition_ is None:
            return None
        return self.partition_.predict(teacher)

    def partition(self, embedded: EmbeddedSet) -> PrototypePartition:
        """Clusters the embeddings, alike in all processes."""
        last = self.partition_
        partition = fit_partition(
            embedded.embeddings,
            self.n_clusters,
            n_init=self.n_init,
            random_state=(
                None if self.random_state is None else self.random_state + self._epoch
            ),
            whiten=self.whiten,
            start=last.labels if last is not None and self.warm_start else None,
            distributed=True,
        )
        return partition if last is None else partition.renumbered(last.labels)

    def restored(self, state: dict[str, Any]) -> PrototypePartition:
        """Clusters out of what their ``state_dict`` gave."""
        return PrototypePartition.from_state_dict(state)
