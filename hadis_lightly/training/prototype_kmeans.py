"""k-means over a module's embeddings, once per epoch: pseudo-labels and scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from hadis_lightly.checks import check_bool
from hadis_lightly.cluster import PrototypePartition
from hadis_lightly.data.key_index import Keys
from hadis_lightly.loss import HaDisLoss, PCLLoss
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.embedding import EmbeddedSet


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
        cosine_start: With ``whiten``, whether k-means starts from the clusters that
            its restarts find on the cosine. NOTE: Not in the paper; for features of
            pretrained networks.
        warm_start: Whether k-means starts once, from the last clusters, in place of
            ``n_init`` restarts. Faster; NOTE: not in the paper, and it stays in the
            local optimum of its first clustering.
        name: Prefix of the logged scores. Several callbacks in one Trainer need
            different names.
        follow_limits: Whether ``limit_train_batches``, ``overfit_batches`` and
            ``fast_dev_run`` of the Trainer limit the clustering as well.

    Attributes, Raises: See :class:`ClusteringCallback`.

    Example:
        A network that learns its own clusters of digits. docs/callback.md has more.

        >>> import pytorch_lightning as pl, torch
        >>> from sklearn.datasets import load_digits
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> class Net(pl.LightningModule):
        ...     def __init__(self, prototypes):
        ...         super().__init__()
        ...         self.prototypes = prototypes
        ...         self.embed = torch.nn.Linear(64, 32)
        ...         self.classify = torch.nn.Linear(32, 10)
        ...
        ...     def training_step(self, batch, batch_idx):
        ...         images, _, keys = batch
        ...         labels = self.prototypes.labels(keys)  # None in the warm-up
        ...         prediction = self.classify(self.embed(images))
        ...         return torch.nn.functional.cross_entropy(prediction, labels)
        ...
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters(), lr=1e-3)
        >>> pixels, classes = load_digits(return_X_y=True)
        >>> images, targets = torch.tensor(pixels / 16).float(), torch.tensor(classes)
        >>> digits = TensorDataset(images, targets, torch.arange(len(images)))
        >>> prototypes = PrototypeKMeans(10, DataLoader(digits, 100), warmup_epochs=0)
        >>> trainer = pl.Trainer(
        ...     max_epochs=2, callbacks=[prototypes], accelerator="cpu", logger=False,
        ...     enable_checkpointing=False, enable_progress_bar=False,
        ...     enable_model_summary=False,
        ... )
        >>> trainer.fit(Net(prototypes), DataLoader(digits, 100, shuffle=True))
        >>> [row["epoch"] for row in prototypes.history_]
        [0, 1, 2]
        >>> prototypes.labels_.shape, prototypes.scores_["acc"] > 0.4
        (torch.Size([1797]), True)

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
        cosine_start: bool = False,
        warm_start: bool = False,
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
        check_bool("warm_start", warm_start)
        self.warm_start = warm_start
        check_bool("cosine_start", cosine_start)
        self.cosine_start = cosine_start

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks the module, and that its losses have as many clusters."""
        super().setup(trainer, pl_module, stage)
        counts = {
            callback.n_clusters
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(callback, PrototypeKMeans)
        }
        for part in pl_module.modules():
            uses_labels = isinstance(part, PCLLoss) or (
                isinstance(part, HaDisLoss) and part.pcl_weight > 0
            )
            if uses_labels and part.n_clusters not in counts:
                raise ValueError(
                    f"{type(part).__name__} has n_clusters={part.n_clusters}, but "
                    f"PrototypeKMeans has n_clusters={self.n_clusters}."
                )

    def labels(self, keys: Keys) -> Tensor | None:
        """Pseudo-labels of some images, ``(n,)``; None during warm-up.

        None as well if a flag of the Trainer keeps one of the images from being
        clustered, see :class:`ClusteringCallback`.

        Args:
            keys: Keys of the loader: indices or file names.

        Raises:
            ValueError: If the loader never yielded a key.
        """
        if self.partition_ is None:
            self._warn_of_no_clusters()
            return None
        # During warm-up as well: a key that is missing is better known at once.
        rows = self._known_rows(keys)
        if rows is None or self._is_too_early():
            return None
        return self.labels_[rows]

    def nearest(self, teacher: Tensor) -> Tensor | None:
        """Number of the prototype nearest to each teacher embedding, ``(n,)``.

        A pseudo-label for loaders that give no keys; None during warm-up.

        Args:
            teacher: Embeddings by the teacher, ``(n, d)``, of any length.
        """
        if self.partition_ is None:
            self._warn_of_no_clusters()
            return None
        if self._is_too_early():
            return None
        return self.partition_.predict(teacher)

    def _warn_of_no_clusters(self) -> None:
        if not self._is_attached:
            rank_zero_warn(
                "PrototypeKMeans has no clusters, as no Trainer has it: "
                "Trainer(callbacks=[prototypes])."
            )

    def _is_too_early(self) -> bool:
        """Whether a warm-up is under way; warns if it will last until the end."""
        never_ends = (
            self.warmup_epochs >= self._num_epochs and not self._is_fast_dev_run
        )
        if self.is_warming_up and never_ends:
            rank_zero_warn(
                f"PrototypeKMeans has warmup_epochs={self.warmup_epochs}, but training "
                f"has {self._num_epochs:.0f} epochs: there will be no pseudo-labels."
            )
            self._num_epochs = math.inf  # said once
        return self.is_warming_up

    def fit_partition(self, embedded: EmbeddedSet) -> PrototypePartition:
        """Clusters the embeddings; ids are those of the last clusters."""
        last = self.partition_
        start = last.labels if last is not None and self.warm_start else None
        partition = self.fit_kmeans(embedded.embeddings, start)
        return partition if last is None else partition.renumbered(last.labels)
