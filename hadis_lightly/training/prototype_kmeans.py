"""k-means over a module's embeddings, once per epoch: pseudo-labels and scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from hadis_lightly.checks import check_bool, check_integer
from hadis_lightly.cluster import (
    NClustersChoice,
    PrototypePartition,
    fit_merged_partition,
    fit_named_partition,
)
from hadis_lightly.data.key_index import Keys
from hadis_lightly.training.clustered_set import choose_together, stand_in
from hadis_lightly.training.clustering_callback import ClusteringCallback
from hadis_lightly.training.embedding import EmbeddedSet
from hadis_lightly.training.inputs import check_losses, losses_with_labels


class PrototypeKMeans(ClusteringCallback[PrototypePartition]):
    """Clusters the training set by k-means before the first and after every epoch.

    The module embeds the whole set in evaluation mode; the embeddings are normalised
    and clustered by cosine k-means. The labels serve as pseudo-labels of the next
    epoch, and are what NMI, ACC and ARI are computed from, as in ProPos [0] and
    HaDis [1]. Clusters keep their ids from one epoch to the next. With several
    processes the restarts of k-means are shared.

    Works with any ``LightningModule`` that offers ``embed(x)``: images
    ``(n, c, h, w)`` in, embeddings ``(n, d)`` out.

    From a range the number of clusters is chosen once, when the warm-up ends, by
    :func:`~hadis_lightly.cluster.choose_n_clusters`; losses with pseudo-labels get it
    then. NOTE: Not in the paper.

    Args:
        n_clusters: Number of clusters, at least 2; or the lowest and the highest of
            those to choose from.
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
            its restarts find on the cosine. NOTE: Not in the paper; for heads.
        warm_start: Whether k-means starts once, from the last clusters, in place of
            ``n_init`` restarts. Faster; NOTE: not in the paper, and it stays in the
            local optimum of its first clustering.
        merge: Whether to look for clusters of very different sizes, see
            :func:`~hadis_lightly.cluster.fit_merged_partition`. NOTE: Not in the paper.
        name: Prefix of the logged scores. Several callbacks in one Trainer need
            different names.
        follow_limits: Whether ``limit_train_batches``, ``overfit_batches`` and
            ``fast_dev_run`` of the Trainer limit the clustering as well.

    Attributes:
        n_clusters: Number of clusters; until one is chosen, 10 or so.
        n_clusters_choice_: What it was chosen by; None before, or without a range.
        examples: Names of some images, see :class:`ClusteredSet`; there is no merging.

    Others, Raises: See :class:`ClusteringCallback`.

    Example:
        A network that learns its own clusters; docs/callback.md has more.

        >>> import pytorch_lightning as pl, torch
        >>> from sklearn.datasets import load_digits
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> class Net(pl.LightningModule):
        ...     def __init__(self, prototypes):
        ...         super().__init__()
        ...         self.prototypes = prototypes
        ...         self.embed = torch.nn.Linear(64, 32)
        ...         self.classify = torch.nn.Linear(32, 10)
        ...     def training_step(self, batch, batch_idx):
        ...         images, _, keys = batch
        ...         labels = self.prototypes.labels(keys)  # None in the warm-up
        ...         prediction = self.classify(self.embed(images))
        ...         return torch.nn.functional.cross_entropy(prediction, labels)
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters(), lr=1e-3)
        >>> images, targets = map(torch.tensor, load_digits(return_X_y=True))
        >>> digits = TensorDataset(images.float() / 16, targets, torch.arange(1797))
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
        n_clusters: int | tuple[int, int],
        dataloader: Iterable[Any],
        warmup_epochs: int = 50,
        every_n_epochs: int = 1,
        n_init: int = 10,
        random_state: int | None = None,
        *,
        whiten: bool = False,
        cosine_start: bool = False,
        warm_start: bool = False,
        merge: bool = False,
        name: str = "cluster",
        follow_limits: bool = True,
    ) -> None:
        self.n_clusters_range: tuple[int, int] | None = None
        if isinstance(n_clusters, (tuple, list)):
            low, high = n_clusters
            check_integer("n_clusters", low, least=2)
            check_integer("n_clusters", high, least=low)
            self.n_clusters_range = low, high
            n_clusters = stand_in(self.n_clusters_range, 2 * high)
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
        check_bool("cosine_start", cosine_start)
        check_bool("merge", merge)
        self.warm_start, self.cosine_start, self.merge = warm_start, cosine_start, merge
        self._n_centers: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks the module, and that its losses have as many clusters."""
        super().setup(trainer, pl_module, stage)
        every: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        callbacks = [c for c in every if isinstance(c, PrototypeKMeans)]
        if not any(c.n_clusters_range for c in callbacks):
            check_losses(pl_module, [c.n_clusters for c in callbacks])

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
        return None if self._is_too_early() else self.partition_.predict(teacher)

    def _warn_of_no_clusters(self) -> None:
        if not self._is_attached:
            rank_zero_warn(
                "PrototypeKMeans has no clusters, as no Trainer has it: "
                "Trainer(callbacks=[prototypes])."
            )

    def _is_too_early(self) -> bool:
        """Whether a warm-up is under way; warns if it will last until the end."""
        never_ends = self.warmup_epochs >= self._num_epochs
        if self.is_warming_up and never_ends and not self._is_fast_dev_run:
            rank_zero_warn(
                f"PrototypeKMeans has warmup_epochs={self.warmup_epochs}, but training "
                f"has {self._num_epochs:.0f} epochs: there will be no pseudo-labels."
            )
            self._num_epochs = math.inf  # said once
        # A number may be chosen later, if the warm-up ends between two clusterings.
        return self.is_warming_up or (self._is_training and self._is_open)

    @property
    def _is_open(self) -> bool:
        is_given = self.n_clusters_range is None or self._is_fast_dev_run
        return not is_given and self.n_clusters_choice_ is None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clusters; or tells the losses of the number that a checkpoint brought."""
        self._tell_losses(pl_module)
        super().on_train_start(trainer, pl_module)

    def on_clustered(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        embedded: EmbeddedSet,
        epoch: int,
    ) -> None:
        """Tells the losses of the number that was chosen."""
        self._tell_losses(pl_module)

    def _tell_losses(self, pl_module: LightningModule) -> None:
        if self.n_clusters_range is not None:
            for loss in losses_with_labels(pl_module):
                loss.n_clusters = self.n_clusters

    def fit_partition(self, embedded: EmbeddedSet) -> PrototypePartition:
        """Clusters the embeddings; ids are those of the last clusters."""
        rows, last = embedded.embeddings, self.partition_
        if self.n_clusters_range is not None and self._is_open:
            self._choose(rows, self.n_clusters_range)
        if last is not None and last.n_clusters != self.n_clusters:
            last = None
        start = last.labels if last and self.warm_start else None
        if self.examples is not None:
            names: Any = {"examples": self.examples, "previous": last and last.labels}
            return self.fit_kmeans(rows, start, partial(fit_named_partition, **names))
        fit, is_last = None, self._epoch + 1 >= self._num_epochs
        if self.merge and not self._is_rough:
            # The number of centres is found once, and again for the last clusters.
            n_centers = None if is_last else self._n_centers
            fit = partial(fit_merged_partition, n_centers=n_centers)
        partition = self.fit_kmeans(rows, start, fit)
        self._n_centers = len(partition.centers) if fit else None
        return partition if last is None else partition.renumbered(last.labels)

    def _choose(self, rows: Tensor, bounds: tuple[int, int]) -> None:
        """Sets the number of clusters: the one to keep, or a stand-in before."""
        self.n_clusters = stand_in(bounds, len(rows))
        if not self._is_draft:
            options: Any = {"whiten": self.whiten, "cosine_start": self.cosine_start}
            options["random_state"] = self.random_state
            choice = choose_together(rows, bounds, **options)
            self.n_clusters_choice_, self.n_clusters = choice, choice.n_clusters

    def state_dict(self) -> dict[str, Any]:
        """Clusters, scores, history and the choice, as they go into a checkpoint."""
        state = super().state_dict()
        if state:
            choice = self.n_clusters_choice_
            state["n_clusters_choice"] = choice and choice.to_dict()
            state["n_centers"] = self._n_centers
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes all that :meth:`state_dict` gave.

        Raises:
            ValueError: If it has another number of clusters, or one out of the range.
        """
        self._n_centers = state_dict.get("n_centers")
        if self.n_clusters_range is not None and state_dict:
            low, high = self.n_clusters_range
            choice = state_dict.get("n_clusters_choice")
            self.n_clusters_choice_ = choice and NClustersChoice.from_dict(choice)
            k = len(state_dict["partition"]["prototypes"])
            self.n_clusters = min(max(low, k), high)
        super().load_state_dict(state_dict)
