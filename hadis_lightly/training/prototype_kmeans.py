"""k-means over a module's embeddings, once per epoch: pseudo-labels and scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from torch import Tensor

from hadis_lightly.checks import check_bool
from hadis_lightly.cluster import PrototypePartition
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.embedding import EmbeddedSet
from hadis_lightly.training.key_index import Keys


class PrototypeKMeans(ClusteringCallback[PrototypePartition]):
    """Clusters the training set by k-means before the first and after every epoch.

    The module embeds the whole set in evaluation mode; the embeddings are normalised
    and clustered by cosine k-means. The labels serve as pseudo-labels of the next
    epoch, and are what NMI, ACC and ARI are computed from, as in ProPos [0] and
    HaDis [1]. Clusters keep their ids from one epoch to the next. With several
    processes the restarts of k-means are shared.

    Works with any ``LightningModule`` that offers ``embed(x)``: images
    ``(n, c, h, w)`` in, embeddings ``(n, d)`` out.

    Args:
        n_clusters: Number of clusters, at least 2.
        dataloader: Yields ``(images, targets, keys)`` of the whole training set under
            the plain test transform, see :class:`ClusteringCallback`.
        warmup_epochs: First epochs, in which there are no pseudo-labels. Paper: 50.
        every_n_epochs: Cluster after every n-th epoch only (and after the last).
        n_init: Restarts of k-means; the best is kept. Paper: 10.
        random_state: Seed of k-means; None draws from PyTorch's global generator.
        whiten: Whether k-means sees whitened embeddings. NOTE: Not in the paper. Early
            embeddings have a few directions of large variance along which cosine
            k-means splits classes; once PCL trains on such clusters they stay, since
            they also have the lower inertia.
        warm_start: Whether k-means starts once, from the last clusters, in place of
            ``n_init`` restarts. Faster; NOTE: not in the paper, and it stays in the
            local optimum of its first clustering.

    Attributes, Raises: See :class:`ClusteringCallback`.

    - [0]: ProPos, 2022, https://arxiv.org/abs/2111.11821
    - [1]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    partition_type = PrototypePartition
    remedies: ClassVar = {
        "spread": "a higher teacher_momentum or a lower learning rate may help, and "
        "batches of 64 images or more",
        "share": "k-means on whitened embeddings (whiten=True) or a lower pcl_weight "
        "may help, if the classes are not that uneven",
        "empty": "there may be fewer kinds of images than n_clusters",
        "prototypes": "n_clusters may be too high, or the embeddings are collapsing",
    }

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
        super().__init__(
            n_clusters,
            dataloader,
            warmup_epochs,
            every_n_epochs,
            n_init=n_init,
            random_state=random_state,
            whiten=whiten,
        )
        check_bool("warm_start", warm_start)
        self.warm_start = warm_start

    def labels(self, keys: Keys) -> Tensor | None:
        """Pseudo-labels of some images, ``(n,)``; None during warm-up.

        Args:
            keys: Keys of the loader: indices or file names.

        Raises:
            ValueError: If the loader never yielded a key.
        """
        if self.is_warming_up or self.partition_ is None:
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

    def fit_partition(self, embedded: EmbeddedSet) -> PrototypePartition:
        """Clusters the embeddings; ids are those of the last clusters."""
        last = self.partition_
        start = last.labels if last is not None and self.warm_start else None
        partition = self.fit_kmeans(embedded.embeddings, start)
        return partition if last is None else partition.renumbered(last.labels)
